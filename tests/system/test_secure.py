"""Secure sums between real processes over HTTPS: each is that of its survivors, and nothing is readable at the coordinator."""

import signal
import time

import pytest

from collegium import tree as T
from collegium.engine import run as course
from collegium.engine import task as tasks
from collegium.privacy.ring import TRAILER
from collegium.recipes import learner
from collegium.simulation.local import close
from collegium.study import manifest, plan
from tests.system.federation import STUDY, Federation, flat, hospital, tables
from tests.system.test_same_bytes import SITES, same

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.network]

ON = "privacy: {secure_aggregation: on}\n"
GLM = STUDY.format(method="{kind: glm, family: binomial}", more="held_out: {test: 2}\n" + ON)
FIVE = {**SITES, "bergen": hospital(4, 130), "milan": hospital(5, 170)}
HASTY = STUDY.format(method="{kind: averaging, hidden: [4], rounds: 9}", more="sites: {grace_s: 4}")


def changes(run, stages, rows, memory):
    """What these sites send in a round before it is masked, and what each would remember of it."""
    stage, shared = stages[run.place.stage], T.whole(course.shared(run, stages))
    return {name: tasks.update(stage.algorithm, shared, table, memory[name, stage.name]) for name, table in rows.items()}


def fresh(study, names, stages):
    """What sites remember of a study that they have not begun."""
    return {(name, stage.name): {"seed": tasks.seed(study.seed, name)} for name in names for stage in stages}


def again(federation, text, rounds):
    """The run in one process, each sum over the sites that the coordinator says were in it."""
    study = manifest.read(text)
    stages, rows = plan.stages(study, learner(study)), tables(federation.folder, FIVE, study)
    used = {(r["stage"], r["round"], r["phase"]): r["answered"] for r in rounds if r["status"] == "applied"}
    run, memory = course.begin(stages, len(FIVE)), fresh(study, FIVE, stages)
    while not run.over:
        stage, place = stages[run.place.stage].name, run.place
        names = used[stage, place.round, place.phase]
        made = changes(run, stages, {name: rows[name] for name in names}, memory)
        run = close(run, stages, {name: change for name, (change, _) in made.items()}, study.seed)
        if run.over or run.place[:2] != place[:2]:
            memory |= {(name, stage): after for name, (_, after) in made.items()}
    return flat(run.results), used


def test_every_sum_is_that_of_its_survivors_one_killed_after_its_upload_and_another_before_it(tmp_path):
    with Federation(tmp_path, FIVE) as federation:
        for name in FIVE:
            federation.start_site(name, "computing:1:8" if name == "porto" else "")
        run = federation.network.start(federation.network.submit(HASTY))
        porto, end = federation.processes["porto"], time.monotonic() + 60
        while run.status()["stage"] != "fit":
            time.sleep(0.02)
        porto.send_signal(signal.SIGSTOP)  # holds the round open
        while (now := run.status())["waiting"] != ["porto"] or "leeds" not in now["answered"]:
            assert time.monotonic() < end
            time.sleep(0.05)
        federation.kill("leeds")  # its vector has come
        porto.send_signal(signal.SIGCONT)
        while run.status()["round"] < now["round"] + 2:
            assert time.monotonic() < end
            time.sleep(0.05)
        federation.start_site("leeds")
        assert federation.died("porto"), "it was never killed before its upload"
        while run.status()["round"] == 8:
            assert time.monotonic() < end
            time.sleep(0.05)
        federation.start_site("porto")
        found = federation.finish(run)
        wanted, used = again(federation, HASTY, run.status()["rounds"])
        same(found, wanted)
        assert used["fit", now["round"], now["phase"]] == sorted(FIVE)  # the others opened the sum with the dead site's vector in it
        assert "leeds" not in used["fit", now["round"] + 1, "sum"]
        assert "porto" not in used["fit", 8, "sum"]


@pytest.mark.parametrize("hidden", [True, False], ids=["masked", "plain"])
@pytest.mark.parametrize("moment", ["committed", "folded"])
def test_no_sites_numbers_are_anywhere_at_the_coordinator_and_without_masks_they_are(tmp_path, hidden, moment):
    off = GLM.replace(ON, "privacy: {secure_aggregation: off, because: to see that it can be seen}\n")
    text = GLM if hidden else off
    with Federation(tmp_path, SITES, f"{moment}:1:2") as federation:
        federation.start_sites()
        federation.begin(text)
        assert federation.died("hub")
        study = manifest.read(text)
        stages, rows = plan.stages(study), tables(federation.folder, SITES, study)
        run = course.begin(stages, len(SITES))
        memory = fresh(study, SITES, stages)
        while run.place[:2] != (1, 2) or run.place.phase != "sum":
            run = close(run, stages, {name: change for name, (change, _) in changes(run, stages, rows, memory).items()}, study.seed)
        made = changes(run, stages, rows, memory)
        vectors = [
            b"".join(bytes(piece.data) for piece in tasks.vector(change, run.layout, run.place, tasks.seed(study.seed, name)))
            for name, (change, _) in made.items()
        ]
        held = b"".join(path.read_bytes() for path in federation.hub.rglob("*") if path.is_file())
        found = [vector[:-TRAILER] in held for vector in vectors]
        assert any(found) is not hidden
