import numpy as np
import pytest

from collegium.engine.messages import Place
from collegium.site.memory import Memory

STAGES = ["features", "fit"]
SEED = np.array(7)


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path / "memory", SEED)


def kept(value, round=1):
    return {"seed": SEED, "shift": np.full(2, float(value))}


def value(memory, stage="fit"):
    held = memory.of(stage)
    return float(held["shift"][0]) if "shift" in held else None


def at(round, stage=1, attempt=1, phase="sum"):
    return Place(stage, round, attempt, phase)


def test_it_begins_with_the_seed_alone(memory):
    assert {name: int(x) for name, x in memory.of("fit").items()} == {"seed": 7}


def test_a_round_that_counted_is_kept_when_the_next_is_asked(memory):
    memory.suspend("fit", at(1), kept(1))
    assert value(memory) is None
    memory.settle(STAGES, at(1), at(2))
    assert value(memory) == 1
    memory.settle(STAGES, at(1), at(2))  # told again after a restart
    assert value(memory) == 1


def test_a_round_that_did_not_count_is_forgotten(memory):
    memory.suspend("fit", at(1), kept(1))
    memory.settle(STAGES, at(1), at(2))
    memory.suspend("fit", at(2), kept(2))
    memory.settle(STAGES, at(1), at(3))
    assert value(memory) == 1
    assert not list(memory.folder.glob("*.pending"))


def test_the_same_round_asked_again_starts_from_what_was_before_it(memory):
    memory.suspend("fit", at(1), kept(1))
    memory.settle(STAGES, at(1), at(1, attempt=2, phase="range"))  # its sum was clipped, and is ranged anew
    assert value(memory) is None
    memory.suspend("fit", at(1, attempt=2), kept(1))
    memory.settle(STAGES, at(1, attempt=2), at(2))
    assert value(memory) == 1


def test_a_ranging_that_counted_keeps_nothing(memory):
    memory.suspend("fit", at(1, phase="range"), kept(1))
    memory.settle(STAGES, at(1, phase="range"), at(2))
    assert value(memory) is None


def test_a_stage_keeps_its_last_round_when_the_next_stage_begins(memory):
    memory.suspend("features", at(2, stage=0), kept(5))
    memory.settle(STAGES, at(2, stage=0), at(1, stage=1))
    assert value(memory, "features") == 5
    assert value(memory) is None


def test_nothing_to_remember_is_no_file(memory):
    memory.suspend("fit", at(1), kept(1))
    memory.suspend("fit", at(1), {"seed": SEED})
    assert not list(memory.folder.iterdir())
