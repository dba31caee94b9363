"""A coordinator that changes its log is found out by each site, with evidence, and the site answers nothing more."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from collegium import identity, merkle
from collegium.canonical import task_digest
from collegium.coordinator import logbook
from collegium.coordinator import store as s
from collegium.errors import IdentityError, NotFound, StorageError
from collegium.merkle import Checkpoint
from collegium.site import witness as w
from collegium.site.ledger import Ledger
from collegium.site.witness import Asked, Witness
from tests.site.keeper import HUB, Keeper, entry

LEEDS = identity.key(b"l" * 32)
DAY = 24 * 3600
TASK: dict[str, Any] = {
    "run": "r1", "study": "s1", "place": [0, 1, 1, "sum"], "layout": {"leaves": []}, "state": "aa", "state_bytes": 8, "counted": None,
}  # fmt: skip


class Now:
    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def watching(folder: Path, now: Now | None = None) -> Witness:
    (folder / "state").mkdir(parents=True, exist_ok=True)
    return Witness(folder, HUB.public, "leeds", LEEDS.public, now=now or Now())


def look(site: Witness, keeper: Keeper, *own: int, **how: Any) -> None:
    asked = site.ask("r1")
    site.check(keeper.show(asked, *own), asked, **how)


def test_a_log_that_grows_is_believed_and_remembered_over_restarts(tmp_path: Path):
    keeper = Keeper(3)
    site = watching(tmp_path)
    assert (site.head, site.ask().document()) == (None, {"seen": [], "since": 0})
    look(site, keeper)
    for _ in range(40):
        keeper.add(actor="york", action="update", site="york")
        look(site, keeper)
    again = watching(tmp_path)
    assert again.head == site.head == Checkpoint(keeper.origin, 43, merkle.root(lambda *at: keeper.nodes[at], 43))
    assert again.ask("r1").document() == {"seen": [43], "since": 43}
    look(again, keeper)


def altered(entries: list[bytes], at: int, how: str) -> list[bytes]:
    other = entry(at, actor="york", action="update", site="york", digest="other")
    match how:
        case "modified":
            return [*entries[:at], other, *entries[at + 1 :]]
        case "deleted":
            return entries[:at] + entries[at + 1 :]
        case "inserted":
            return [*entries[:at], other, *entries[at:]]
    with_next = at if at + 1 < len(entries) else at - 1
    return [*entries[:with_next], entries[with_next + 1], entries[with_next], *entries[with_next + 2 :]]


HOW = ("modified", "deleted", "inserted", "reordered")


@pytest.fixture(scope="module")
def thousand() -> Keeper:
    return Keeper(1000)


def test_each_of_a_thousand_entries_changed_is_found_at_the_next_poll(thousand: Keeper, tmp_path: Path):
    """U1. The changed log goes on growing, and the coordinator makes its proofs from it as well as it can."""
    site = watching(tmp_path)
    look(site, thousand)
    asked, found = site.ask("r1"), 0
    for at in range(1000):
        lie = thousand.forked([*altered(thousand.entries, at, HOW[at % 4]), b"{}", b"{}"], max(at - 1, 0))
        with pytest.raises(IdentityError, match="rewritten"):
            judge(site, lie.show(asked), asked)
        found += 1
    assert found == 1000


def judge(site: Witness, document: Any, asked: Asked) -> None:
    """The check alone, without the evidence that a refusal writes: for many lies to one site."""
    try:
        site.refuse = lambda says, notes, document: (_ for _ in ()).throw(IdentityError(says))  # type: ignore[method-assign]
        site.check(document, asked)
    finally:
        del site.refuse


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("at", [0, 1, 511, 512, 998, 999])
def test_a_change_stops_the_site_for_good(thousand: Keeper, tmp_path: Path, how: str, at: int):
    site = watching(tmp_path)
    look(site, thousand)
    lie = Keeper(entries=[*altered(thousand.entries, at, how), b"{}", b"{}"])
    with pytest.raises(IdentityError, match="rewritten") as refused:
        look(site, lie)
    assert "move" in refused.value.hint
    for again in (site, watching(tmp_path)):  # also after a restart, and though the old log is shown again
        with pytest.raises(IdentityError, match="answers nothing more"):
            look(again, thousand)
    told = json.loads((tmp_path / "state" / "log-evidence-1.json").read_text())
    opened = [merkle.opened(note, lie.origin, HUB.public, identity.verify) for note in told["signed"]]
    assert [one.size for one in opened] == [1000, len(lie.entries)]  # both signed: anybody can see that they do not fit
    assert told["shown"]["note"] == told["signed"][1]
    (tmp_path / "state" / "witness.jsonl").rename(tmp_path / "state" / "settled.jsonl")
    look(watching(tmp_path), lie)  # a person has looked


def test_two_histories_for_two_sites_are_found_when_they_meet(tmp_path: Path):
    """U2. Each history is sound by itself; the roots that sites sign, or show each other, are not the same."""
    common = Keeper(10)
    left, right = Keeper(entries=common.entries), Keeper(entries=common.entries)
    one, two = watching(tmp_path / "one"), watching(tmp_path / "two")
    look(one, common)
    look(two, common)
    assert one.compare(common.note(10))
    left.add(actor="leeds", action="task", digest="left")
    right.add(actor="leeds", action="task", digest="right")
    look(one, left)
    look(two, right)
    assert one.head != two.head
    with pytest.raises(IdentityError, match="two different logs of 11 entries") as refused:
        one.compare(right.note())
    assert "log-evidence-1.json" in str(refused.value)
    signed = json.loads((tmp_path / "one" / "state" / "log-evidence-1.json").read_text())["signed"]
    roots = {merkle.opened(note, left.origin, HUB.public, identity.verify).root for note in signed}
    assert len(signed) == len(roots) == 2
    with pytest.raises(IdentityError, match="answers nothing more"):
        look(one, left)
    with pytest.raises(IdentityError, match="two different logs"):  # a coordinator that brings its halves together
        look(two, left)


def test_a_checkpoint_of_a_size_that_was_not_seen_cannot_be_compared(tmp_path: Path):
    site = watching(tmp_path)
    look(site, Keeper(5))
    assert site.compare(Keeper(7).note()) is False
    with pytest.raises(IdentityError, match="does not hold"):
        site.compare(Keeper(5, key=identity.key(b"x" * 32)).note())


def test_a_shorter_log_is_refused(tmp_path: Path):
    """U3, rollback: also what a site sees of a coordinator that was restored from a backup."""
    keeper, site = Keeper(20), watching(tmp_path)
    look(site, keeper)
    with pytest.raises(IdentityError, match=r"has 12 entries, this site has seen 20.*backup"):
        look(site, Keeper(12))
    assert len(json.loads((tmp_path / "state" / "log-evidence-1.json").read_text())["signed"]) == 2


def test_a_log_that_runs_ahead_of_itself_is_refused(tmp_path: Path):
    """U3, fast-forward: a huge size, signed, with no proof that could hold."""
    keeper, site = Keeper(20), watching(tmp_path)
    look(site, keeper)
    ahead = merkle.sign(Checkpoint(keeper.origin, 2**62, b"r" * 32), HUB.public, HUB.sign)
    asked = site.ask("r1")
    for proof in ([], [b"x" * 32] * 62, [b"x" * 32] * 100_000):
        with pytest.raises(IdentityError, match="rewritten"):
            judge(site, {"note": ahead, "consistency": [[h.hex() for h in proof]], "own": []}, asked)


def test_a_log_that_stands_still_for_a_day_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """U3, freeze. In a round it is found at once: the site's own update and the task are missing."""
    keeper, now = Keeper(5), Now()
    site = watching(tmp_path, now)
    look(site, keeper)
    with caplog.at_level(logging.WARNING, "collegium.site.witness"):
        now.at += DAY
        look(site, keeper)
        assert caplog.records == []
        now.at += 7200
        look(site, keeper)
        look(site, keeper)
        assert [record.getMessage() for record in caplog.records] == [
            "the coordinator shows the same log of 5 entries for 26 hours: it may hold newer ones back"
        ]
        again = watching(tmp_path, now)
        keeper.add(actor="york", action="update")
        look(again, keeper)
        assert len(caplog.records) == 1
    with pytest.raises(IdentityError, match="does not hold the task"):
        look(site, keeper, task=TASK)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d | {"note": d["note"].replace("\n5\n", "\n6\n")}, "does not hold"),
        (lambda d: d | {"note": Keeper(5, key=identity.key(b"x" * 32)).note()}, "does not hold"),
        (lambda d: d | {"consistency": []}, "0 proofs, wanted one for each of 1"),
        (lambda d: d | {"consistency": [["zz"]]}, "not in its form"),
        (lambda d: d | {"consistency": None}, "not in its form"),
        (lambda d: d | {"own": [{"seq": 1}]}, "not in its form"),
        (lambda d: d | {"own": [{"seq": 1, "leaf": "[1]", "proof": []}]}, "not in its form"),
        (lambda d: {}, "not in its form"),
        (lambda d: None, "shows nothing of its log"),
        (lambda d: "log", "not in its form"),
    ],
)
def test_what_anybody_could_have_made_is_refused_and_proves_nothing(tmp_path: Path, change: Any, says: str):
    keeper, site = Keeper(5), watching(tmp_path)
    look(site, keeper)
    asked = site.ask("r1")
    with pytest.raises(IdentityError, match=says):
        site.check(change(keeper.show(asked)), asked)
    look(site, keeper)  # no lie of the coordinator's is proved: the true document is taken
    assert list((tmp_path / "state").glob("log-evidence*")) == []


def test_an_update_that_was_sent_is_found_in_the_log(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper, keeper.task(TASK), task=TASK)
    site.sent("r1", TASK["place"], "d1")
    mine = keeper.update("d1")
    after = TASK | {"place": [0, 2, 1, "sum"], "counted": TASK["place"]}
    look(site, keeper, mine, keeper.task(after), task=after)
    assert site.kept.owed == {}
    assert watching(tmp_path).head == site.head


def test_what_left_before_a_restart_is_found_in_the_ledger(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper)
    book = Ledger(tmp_path / "state" / "ledger.jsonl")
    book.append("sum", run="r1", place=TASK["place"], digest="d1")
    book.append("sum", run="r1", place=[0, 2, 1, "sum"], digest="d3")
    book.append("failure", run="r1", place=TASK["place"], code="storage")
    book.close()
    again = watching(tmp_path)
    again.sent("r1", TASK["place"], "d2")  # computed anew: what was handed in before counts all the same
    look(again, keeper, keeper.update("d1"))
    look(again, keeper, keeper.add(actor="leeds", action="failure", site="leeds", run="r1", place=TASK["place"], failure="storage"))
    with pytest.raises(IdentityError, match="another update of this site"):
        look(again, keeper, keeper.update("d1", place=(0, 2, 1, "sum")))


def test_an_update_that_was_counted_and_is_not_in_the_log_is_missed(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper, keeper.task(TASK), task=TASK)
    site.sent("r1", TASK["place"], "d1")
    after = TASK | {"place": [0, 2, 1, "sum"], "counted": TASK["place"]}
    with pytest.raises(IdentityError, match=r"was counted.*the log does not hold it"):
        look(site, keeper, keeper.task(after), task=after)


def test_an_update_that_came_too_late_is_forgotten(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper, keeper.task(TASK), task=TASK)
    site.sent("r1", TASK["place"], "d1")
    site.sent("r2", TASK["place"], "d1")
    after = TASK | {"place": [0, 2, 1, "sum"]}
    look(site, keeper, keeper.task(after), task=after)
    assert list(site.kept.owed) == ['r2 [0, 1, 1, "sum"]']


def test_an_update_that_was_altered_or_never_sent_is_refused(tmp_path: Path):
    for folder, sent, says in (("a", ["d1"], "another update of this site"), ("b", [], "never sent")):
        keeper, site = Keeper(4), watching(tmp_path / folder)
        look(site, keeper)
        for digest in sent:
            site.sent("r1", TASK["place"], digest)
        with pytest.raises(IdentityError, match=says):
            look(site, keeper, keeper.update("d2"))


def test_a_failure_is_an_answer_too(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper)
    site.sent("r1", TASK["place"], "")
    look(site, keeper, keeper.add(actor="leeds", action="failure", site="leeds", run="r1", place=TASK["place"], failure="data"))
    assert site.kept.owed == {}


def test_an_answer_that_is_shown_again_is_not_a_new_one(tmp_path: Path):
    """The reply to a request is lost on the way: the next one names the same sizes, and brings the same entries."""
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper)
    asked = site.ask("r1")
    site.sent("r1", TASK["place"], "d1")
    mine = keeper.update("d1")
    site.check(keeper.show(asked, mine), asked)
    site.check(keeper.show(asked, mine), asked)


def test_what_was_before_this_site_remembers_is_left_alone(tmp_path: Path):
    keeper = Keeper(4)
    old = keeper.update("from an earlier life")
    site = watching(tmp_path)
    look(site, keeper, old)
    asked = site.ask("r1", now=True)
    assert asked.since == 5
    site.check(keeper.show(asked, old), asked)


def test_the_entries_of_fast_rounds_are_looked_at_together(tmp_path: Path):
    keeper, now = Keeper(4), Now()
    site = watching(tmp_path, now)
    look(site, keeper)
    assert site.ask("r1").document() == {"seen": [4], "since": None}
    assert site.ask("r2").since == 4
    now.at += w.EVERY_S
    assert site.ask("r1").since == 4


def mark(keeper: Keeper, size: int) -> str:
    return logbook.marked(size, merkle.root(lambda *at: keeper.nodes[at], size))


def between(keeper: Keeper, asked: Asked, size: int) -> dict[str, Any]:
    """What a site is given with a root of `size`, which it may have seen or not."""
    read = lambda *at: keeper.nodes[at]
    proofs = [[h.hex() for h in merkle.consistency(read, *sorted((old, size)))] for old in sorted(asked.heads)]
    return {"note": keeper.note(size), "consistency": proofs, "own": []}


def test_a_root_of_the_history_that_this_site_saw_is_signed_whether_older_or_newer(tmp_path: Path):
    keeper, site = Keeper(20), watching(tmp_path)
    first = site.ask("r1")
    site.vouch(between(keeper, first, 6), first, mark(keeper, 6))  # the first that it sees of the log
    asked = site.ask("r1")
    site.vouch(between(keeper, asked, 9), asked, mark(keeper, 9))
    look(site, keeper)
    late = site.ask("r1")
    site.vouch(between(keeper, late, 12), late, mark(keeper, 12))
    assert site.head == Checkpoint(keeper.origin, 20, merkle.root(lambda *at: keeper.nodes[at], 20))
    site.vouch(between(keeper, late, 20), late, mark(keeper, 20))


@pytest.mark.parametrize("size", [9, 20, 30])
def test_a_root_of_another_history_is_not_signed_and_kept_as_evidence(tmp_path: Path, size: int):
    """A coordinator that tells two halves of the sites two histories needs a quorum on one root; no honest site signs the other."""
    keeper, site = Keeper(20), watching(tmp_path)
    look(site, keeper)
    lie = Keeper(entries=[*altered(keeper.entries, 4, "modified"), *[b"{}"] * 10])
    asked = site.ask("r1")
    with pytest.raises(IdentityError, match=r"rewritten|two different logs"):
        site.vouch(between(lie, asked, size), asked, mark(lie, size))
    assert site.refused
    with pytest.raises(IdentityError, match="answers nothing more"):
        site.vouch(between(keeper, asked, size if size < 30 else 20), asked, mark(keeper, 20))
    assert (tmp_path / "state" / "log-evidence-1.json").exists()


def test_a_root_without_its_log_is_not_signed_and_proves_nothing(tmp_path: Path):
    keeper, site = Keeper(20), watching(tmp_path)
    look(site, keeper)
    asked = site.ask("r1")
    for root, document in (("", between(keeper, asked, 9)), (mark(keeper, 10), between(keeper, asked, 9)), (mark(keeper, 9), None)):
        with pytest.raises(IdentityError):
            site.vouch(document, asked, root)
    assert not site.refused


def test_a_key_that_joined_in_this_sites_name_is_noticed(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    look(site, keeper)
    look(site, keeper, keeper.add(actor="operator", action="invited", site="leeds"))
    look(site, keeper, keeper.add(actor="leeds", action="joined", site="leeds", key=LEEDS.public))
    with pytest.raises(IdentityError, match="another key has joined"):
        look(site, keeper, keeper.add(actor="leeds", action="joined", site="leeds", key=HUB.public))


def test_a_task_that_differs_from_the_logged_one_is_refused(tmp_path: Path):
    """The coordinator cannot ask one site for something else than the others: the log holds one task for a round."""
    keeper, site = Keeper(4), watching(tmp_path)
    logged = keeper.task(TASK)
    look(site, keeper, logged, task=TASK)
    for other in ({"state": "another model"}, {"layout": {"leaves": [1]}}, {"place": [0, 9, 1, "sum"]}, {"study": "s2"}):
        with pytest.raises(IdentityError, match="does not hold the task"):
            look(watching(tmp_path / str(other)), keeper, logged, task=TASK | other)


def opening(keeper: Keeper, asked: Asked, seq: int) -> dict[str, Any]:
    """What a site is given with a task, when it looks at no more: the log of the moment when the round was opened."""
    return between(keeper, asked, seq + 1) | {"own": keeper.show(asked, seq, size=seq + 1)["own"]}


def test_a_task_is_held_against_the_log_of_its_own_moment_seen_or_not(tmp_path: Path):
    keeper, site = Keeper(4), watching(tmp_path)
    first = keeper.task(TASK)
    asked = site.ask("r1")
    site.hold(opening(keeper, asked, first), asked, TASK)
    keeper.add(actor="york", action="update", site="york")
    look(site, keeper)
    late = site.ask("r1")
    site.hold(opening(keeper, late, first), late, TASK)  # asked again, after more was seen
    assert site.head is not None
    assert site.head.size == 6
    with pytest.raises(IdentityError, match="does not hold the task"):
        site.hold(opening(keeper, late, first), late, TASK | {"state": "another model"})
    with pytest.raises(IdentityError, match="answers nothing more"):
        site.hold(opening(keeper, late, first), late, TASK)


def test_a_task_of_another_history_is_refused_between_two_looks(tmp_path: Path):
    keeper, site, other = Keeper(20), watching(tmp_path), TASK | {"state": "for this site alone"}
    look(site, keeper)
    lie = Keeper(entries=altered(keeper.entries, 4, "modified"))
    asked = site.ask("r1")
    assert asked.since is None
    with pytest.raises(IdentityError, match="rewritten"):
        site.hold(opening(lie, asked, lie.task(other)), asked, other)
    assert (tmp_path / "state" / "log-evidence-1.json").exists()


def test_entries_that_are_not_in_the_log_are_refused(tmp_path: Path):
    keeper = Keeper(9)
    for number, spoil in enumerate(
        (
            lambda one: one | {"leaf": one["leaf"].replace("york", "kent")},
            lambda one: one | {"seq": 3},
            lambda one: one | {"proof": one["proof"][1:]},
            lambda one: one | {"seq": 900},
        )
    ):
        site = watching(tmp_path / str(number))
        asked = site.ask("r1")
        document = keeper.show(asked, 4)
        with pytest.raises(IdentityError, match="does not hold"):
            site.check(document | {"own": [spoil(document["own"][0])]}, asked)
    misnumbered = Keeper(entries=[entry(0), entry(7)])
    with pytest.raises(IdentityError, match="entry 1 of the log calls itself 7"):
        look(watching(tmp_path / "last"), misnumbered, 1)


def test_answers_that_overtake_each_other_are_no_lie_and_are_proved_later(tmp_path: Path):
    """Two runs poll at once; the answer that was made first arrives last. A fork between the two shows at the next poll."""
    keeper, site = Keeper(10), watching(tmp_path)
    look(site, keeper)
    slow, fast = site.ask("r1"), site.ask("r2")
    keeper.put(entry(10))
    early = keeper.show(slow)
    keeper.put(entry(11))
    site.check(keeper.show(fast), fast)
    site.check(early, slow)
    assert site.ask("r1").document()["seen"] == [11, 12]
    assert site.head == Checkpoint(keeper.origin, 12, merkle.root(lambda *at: keeper.nodes[at], 12))
    keeper.put(entry(12))
    look(site, keeper)
    assert site.ask("r1").document()["seen"] == [13]

    slow, fast = site.ask("r1"), site.ask("r2")
    forked = Keeper(entries=[*keeper.entries, b'{"other": 1}'])
    early = forked.show(slow)
    keeper.put(entry(13))
    keeper.put(entry(14))
    site.check(keeper.show(fast), fast)
    site.check(early, slow)
    with pytest.raises(IdentityError, match="rewritten"):
        look(site, keeper)


def test_the_file_stays_small_and_survives_a_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(w, "LARGE", 4000)
    keeper, site = Keeper(3), watching(tmp_path)
    for _ in range(60):
        keeper.put(entry(len(keeper.entries)))
        look(site, keeper)
    assert site.path.stat().st_size < 6000
    assert site.path.stat().st_mode & 0o077 == 0
    with site.path.open("ab") as file:
        file.write(b'{"heads": {"99": ')
    assert watching(tmp_path).head == site.head
    again = watching(tmp_path)
    keeper.put(entry(len(keeper.entries)))
    look(again, keeper)
    assert watching(tmp_path).head == again.head


def test_a_damaged_memory_is_said_and_not_begun_anew(tmp_path: Path):
    look(watching(tmp_path), Keeper(3))
    path = tmp_path / "state" / "witness.jsonl"
    for content in (b"", b"not json\n", b'{"strange": 1}\n', b"torn"):
        path.write_bytes(content)
        with pytest.raises(IdentityError, match="is damaged"):
            watching(tmp_path)


def test_what_cannot_be_written_down_is_not_believed(tmp_path: Path):
    site = watching(tmp_path)
    look(site, Keeper(3))
    site.path.unlink()
    site.path.mkdir()
    with pytest.raises(StorageError):
        look(site, Keeper(4))


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(w, "MOST", 5)
    keeper, site = Keeper(3), watching(tmp_path)
    for number in range(12):
        keeper.put(entry(len(keeper.entries)))
        asked = site.ask(f"r{number}")
        site.check(keeper.show(asked), asked)
        site.sent(f"r{number}", TASK["place"], "d")
    assert [len(each) for each in (site.seen, site.kept.owed, site.kept.shown, site.kept.heads)] == [5, 5, 5, 1]


def test_the_coordinators_own_documents_are_believed(tmp_path: Path):
    """The two rooms agree on the form: a real log on one side, a site on the other."""
    s.create(tmp_path)
    store = s.open_folder(tmp_path)
    book, site = logbook.Logbook(store, HUB), watching(tmp_path / "site")
    try:
        for number in range(30):
            if number % 3 == 0:
                site.sent("r1", [0, number, 1, "sum"], f"d{number}")
            facts = {"run": "r1", "place": [0, number, 1, "sum"], "site": "leeds" if number % 3 == 0 else "york", "digest": f"d{number}"}
            store.write(lambda c, facts=facts: logbook.append(c, 5, facts["site"], "update", **facts))
            asked = site.ask("r1", now=True)
            document = book.for_site(**asked.document(), site="leeds", run="r1")
            assert len(document["own"]) == (number % 3 == 0)
            site.check(json.loads(json.dumps(document)), asked)
            assert site.head is not None
            assert site.head.size == number + 1
        assert site.kept.owed == {}
        earlier = "12:" + book.mark().partition(":")[2]
        with pytest.raises(IdentityError, match="is not the one of the log"):
            site.vouch(book.at(earlier, [30]), site.ask("r1"), earlier)
        site.vouch(book.at(book.mark(), [30]), site.ask("r1"), book.mark())
        facts = {"run": "r1", "place": TASK["place"], "digest": task_digest(TASK)}
        store.write(lambda c: logbook.append(c, 5, "coordinator", "task", **facts))
        store.write(lambda c: logbook.append(c, 5, "york", "update", run="r1", place=TASK["place"], site="york", digest="d"))
        site.hold(json.loads(json.dumps(book.asking("r1", TASK["place"], [30]))), site.ask("r1"), TASK)
        assert site.head.size == 31
        with pytest.raises(NotFound, match="does not hold that run r1 was asked"):
            book.asking("r1", [0, 9, 1, "sum"], [31])
    finally:
        store.close()
