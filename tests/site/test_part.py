"""One run at a site, against a coordinator and a worker of a few lines: what whole studies in `test_agent` do not reach."""

import hashlib
import json
import os
import threading
from dataclasses import replace

import pytest

from collegium import identity
from collegium.canonical import canonical
from collegium.errors import ConflictError, IdentityError
from collegium.site import config
from collegium.site import part as parts
from collegium.site.config import Config
from collegium.site.frames import receive, send
from collegium.site.ledger import Ledger, entries
from collegium.site.part import House, Part
from collegium.site.pipe import Child
from collegium.site.witness import Witness
from collegium.study import manifest, participants
from tests.site.federation import POLICY, STUDY
from tests.site.keeper import HUB, Keeper

MANIFEST = json.loads(manifest.signed(manifest.read(STUDY)))
DIGEST = hashlib.sha256(canonical(MANIFEST)).hexdigest()
LEAD = identity.key(b"l" * 32)
OFFER = {"run": "r", "study": DIGEST, "manifest": MANIFEST, "lead": LEAD.public}
LAYOUT = {"sites": 2, "leaves": [["n", "int64", [], 0]]}


def task(number=1, phase="sum"):
    return {
        "run": "r",
        "study": DIGEST,
        "place": [0, number, 1, phase],
        "layout": LAYOUT,
        "state": "ab" * 32,
        "state_bytes": 3,
        "counted": None,
    }


class Coordinator:
    """Says what a test wrote down, and keeps what it was handed."""

    def __init__(self, *replies):
        self.replies, self.handed, self.stop, self.log = list(replies), [], threading.Event(), Keeper(3)

    def work(self, message, payload=b""):
        self.handed.append((message["answer"], bytes(payload), message["line"]))
        reply = self.replies.pop(0) if self.replies else {"status": "stopped", "says": ""}
        if isinstance(reply, Exception):
            raise reply
        own = [self.log.task(reply["task"])] if reply.get("task") else []
        return {"log": self.log.answer(message["log"], *own), **reply} if "log" in message else reply, b"abc"

    def steadily(self, call):
        return call()


class Alive:
    pid = 0

    def poll(self):
        return 0

    def wait(self, timeout=None):
        return 0


def working(*answers):
    """A worker that gives these answers, one after the other, in a thread of this process."""
    left = list(answers)

    def start(log, threads):
        there, to = os.pipe()
        back, here = os.pipe()

        def live():
            while (asked := receive(there)) is not None:
                if asked.says["do"] == "open":
                    send(here, {"rows": 50, "stages": ["features", "fit"]})
                else:
                    answer = left.pop(0)
                    send(here, answer() if callable(answer) else answer, b"12345678")
            os.close(there)
            os.close(here)

        threading.Thread(target=live, daemon=True).start()
        return Child(Alive(), to, back)

    return start


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "STORAGE_PAUSE_S", 0.01)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "data.json").write_text('{"version": 1, "tables": {"stays": {}}}')
    listed = participants.signed(DIGEST, LEAD, {"leeds": config.make_key(tmp_path).public, "york": "02" * 32})
    ledger, go = Ledger(tmp_path / "state" / "ledger.jsonl"), threading.Event()
    go.set()

    def made(link, start, **offer):
        told, settings = [], Config(tmp_path, "https://h", HUB.public, "leeds")
        witness = Witness(tmp_path, HUB.public, "leeds", config.key_of(tmp_path).public)
        house = House(settings, link, ledger, witness, go, start, lambda run, facts: told.append(facts))
        return Part(house, OFFER | {"participants": participants.as_document(listed)} | offer), told

    made.ledger, made.folder = ledger, tmp_path
    yield made
    ledger.close()


ANSWER = {"digest": "cd" * 32, "nbytes": 8, "line": {}}
GO = {"status": "running", "says": "", "task": task()}
FAILURE = {"failure": "failed", "says": "it failed", "final": False, "detail": "the value was 42"}


def test_downloads_are_kept_for_their_run_and_no_longer(site):
    here, other = (site(Coordinator(GO), working(ANSWER), run=name)[0] for name in ("r", "r2"))
    for part in (here, other):
        part.cache.folder.mkdir(parents=True)
        (part.cache.folder / "ab.part").write_bytes(b"begun before a restart")
    assert here.follow() == "stopped"
    assert not here.cache.folder.exists()
    assert [path.name for path in other.cache.folder.iterdir()] == ["ab.part"]


def test_an_answer_is_recorded_before_it_is_handed_in(site):
    link = Coordinator(GO)
    part, _ = site(link, working(ANSWER))
    assert part.follow() == "stopped"
    (_, first, _), (answer, vector, _), _ = link.handed
    assert first == b""
    assert (answer["digest"], answer["place"], vector) == ("cd" * 32, [0, 1, 1, "sum"], b"12345678")
    assert [entry["what"] for entry in entries(site.ledger.path)] == ["form", "sum"]


def test_a_task_that_the_log_does_not_hold_is_not_computed(site):
    link = Coordinator(GO)
    link.log.task = lambda task: link.log.add(actor="coordinator", action="task", run="r", place=task["place"], digest="another")
    part, told = site(link, working())
    assert part.follow() == "left"
    assert [(answer["failure"], answer["final"]) for answer, _, _ in link.handed if answer] == [("identity", True)]
    assert "others may have been asked another" in told[-1]["says"]
    again, told = site(Coordinator(GO), working())
    assert again.follow() == "left"
    assert "answers nothing more" in told[-1]["says"]


def lying_from(number, what):
    """A coordinator whose tasks are as logged up to `number`; that one comes with `what` besides, and not as logged."""
    link = Coordinator(*[GO | {"task": task(k)} for k in range(1, number)], GO | {"task": task(number)} | what)
    honest = link.log.task
    put = lambda asked: honest(asked if asked["place"][1] < number else asked | {"state": "cd" * 32})
    link.log.task = put
    return link


@pytest.mark.parametrize(
    "what", [{}, {"secure": {"kind": "survivors", "root": "1:aa"}}, {"log": None}], ids=["fast", "survivors", "no log"]
)
def test_each_task_is_held_against_the_log_however_fast_the_rounds_and_whatever_comes_beside_it(site, what):
    link = lying_from(3, what)
    part, told = site(link, working(ANSWER, ANSWER))
    assert part.follow() == "left"
    answers = [answer for answer, _, _ in link.handed if answer]
    assert [(answer["place"][1], answer["failure"]) for answer in answers] == [(1, ""), (2, ""), (3, "identity")]
    assert ("others may have been asked another" in told[-1]["says"]) == ("log" not in what)


def test_a_lie_that_is_proved_in_one_run_keeps_the_answers_of_all_others_here(site):
    """It comes out while this run computes: what was computed does not leave."""
    link = Coordinator(GO)
    part, told = site(link, None)
    witness = part.house.witness

    def found():
        with pytest.raises(IdentityError):
            witness.refuse("two different logs", [], None)
        return ANSWER

    part.house = replace(part.house, start=working(found))
    assert part.follow() == "left"
    answer, vector, _ = link.handed[-1]
    assert (answer["failure"], vector) == ("identity", b"")
    assert [entry["what"] for entry in entries(site.ledger.path)] == ["failure"]
    assert "answers nothing more" in told[-1]["says"]


def test_the_last_update_is_looked_for_in_the_log_when_the_run_is_over(site):
    link = Coordinator(GO, {"status": "stopped", "says": "", "task": None})
    part, told = site(link, working(ANSWER))
    work = link.work

    def altered(message, payload=b""):
        if message["answer"]:
            link.log.update("ef" * 32, run="r")
        own = [len(link.log.entries) - 1] if not link.replies else []
        reply, state = work(message, payload)
        return reply | {"log": link.log.answer(message["log"], *own)} if own and "log" in message else reply, state

    link.work = altered
    assert part.follow() == "stopped"
    assert "another update of this site than it sent" in told[-1]["trouble"]


def test_an_answer_that_is_not_taken_is_not_handed_in_again(site):
    link = Coordinator(GO, ConflictError("the round is over"), {"status": "failed", "says": "too few"})
    part, told = site(link, working(ANSWER))
    assert part.follow() == "failed"
    assert [answer for answer, _, _ in link.handed][2] is None
    assert any("did not take" in facts.get("trouble", "") for facts in told)


def test_a_failed_round_is_told_and_the_third_in_a_row_is_the_last(site):
    link = Coordinator(GO, GO, GO)
    part, _ = site(link, working(FAILURE, FAILURE, FAILURE))
    assert part.follow() == "left"
    finals = [answer["final"] for answer, _, _ in link.handed if answer]
    assert finals == [False, False, True]
    assert "42" not in json.dumps([answer for answer, _, _ in link.handed])


def test_a_full_disk_of_the_worker_is_waited_for(site):
    full = {"failure": "storage", "says": "the site's disk is full or cannot be written", "final": False}
    link = Coordinator(GO)
    part, told = site(link, working(full, full, ANSWER))
    assert part.follow() == "stopped"
    assert link.handed[1][0]["digest"] == "cd" * 32
    assert sum("disk is full" in facts.get("trouble", "") for facts in told) == 2


def test_a_line_is_handed_in_where_the_policy_publishes_it_and_kept_where_not(site):
    with_line = ANSWER | {"line": {"gain": "0.1"}}
    link = Coordinator(GO)
    part, _ = site(link, working(with_line))
    part.follow()
    assert [line for _, _, line in link.handed] == [None, {"gain": "0.1"}, None]
    (site.folder / "policy.yaml").write_text(POLICY.replace("publish_line: true", "publish_line: false"))
    link = Coordinator(GO)
    part, _ = site(link, working(with_line))
    part.follow()
    assert [line for _, _, line in link.handed] == [None, None, None]
    assert part.line == {"gain": "0.1"}


def test_a_policy_that_changes_its_mind_is_heeded_at_the_next_task(site):
    class Turning(Coordinator):
        def work(self, message, payload=b""):
            if len(self.handed) == 1:
                path = site.folder / "policy.yaml"
                path.write_text(POLICY.replace("level: 1", "level: 0"))
                os.utime(path, (1, 1))
            return super().work(message, payload)

    link = Turning(GO, GO | {"task": task(2)})
    part, _ = site(link, working(ANSWER))
    assert part.follow() == "left"
    assert link.handed[-1][0]["failure"] == "refused"
    assert "level 0" in link.handed[-1][0]["says"]


def test_a_manifest_of_another_digest_and_a_task_of_another_study_are_left(site):
    link = Coordinator(GO)
    part, _ = site(link, working(), study="00" * 32)
    assert part.follow() == "left"
    assert link.handed[-1][0]["failure"] == "identity"
    link = Coordinator(GO | {"task": task() | {"study": "11" * 32}})
    part, _ = site(link, working())
    assert part.follow() == "left"
