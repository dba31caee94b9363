"""The log: one entry for each act, there if and only if the act is; proofs that hold; and no row taken out unnoticed."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from collegium import identity, merkle
from collegium.canonical import canonical, digest, task_digest
from collegium.coordinator import driver, logbook, records
from collegium.coordinator import store as s
from collegium.coordinator.logbook import Logbook
from collegium.engine.messages import Answer, place_of
from collegium.errors import NotFound, StorageError
from tests.coordinator.world import Refused, World, in_loop, plan_of, served

KEY = identity.key(b"c" * 32)


@pytest.fixture
def store(tmp_path: Path):
    s.create(tmp_path)
    opened = s.open_folder(tmp_path)
    yield opened
    opened.close()


def grow(store: s.Store, count: int) -> None:
    def many(c: Any) -> None:
        for number in range(count):
            logbook.append(c, 100 + number, "leeds", "update", run="r1", site=f"site{number % 3}", digest=f"{number:064x}")

    store.write(many)


def of(world: World) -> list[dict[str, Any]]:
    """All entries of a coordinator's log."""
    return [json.loads(text) for text in world.app.means.logbook.entries(0, 1000)]


def checked(document: dict[str, Any], seen: dict[int, bytes]) -> merkle.Checkpoint:
    """A document for a site, every proof in it verified."""
    found = merkle.opened(document["note"], logbook.origin(KEY.public), KEY.public, identity.verify)
    for (size, top), proof in zip(sorted(seen.items()), document["consistency"], strict=True):
        assert merkle.consistent(size, top, found.size, found.root, [bytes.fromhex(each) for each in proof])
    for one in document["own"]:
        proof = [bytes.fromhex(each) for each in one["proof"]]
        assert merkle.included(merkle.leaf(one["leaf"].encode()), one["seq"], found.size, proof, found.root)
    return found


def test_entries_make_the_tree_that_their_text_says(store: s.Store):
    book, tops = Logbook(store, KEY), {}
    for size in range(70):
        tops[size] = merkle.opened(book.checkpoint(), book.origin, KEY.public, identity.verify).root
        grow(store, 1)
    texts = [text.encode() for text in book.entries(0, 1000)]
    assert [json.loads(text)["seq"] for text in texts] == list(range(70))
    assert all(canonical(json.loads(text)) == text for text in texts)
    made: dict[tuple[int, int], bytes] = {}
    for number, text in enumerate(texts):
        for level, node in enumerate(merkle.completed(merkle.leaf(text), number, lambda *at: made[at])):
            made[level, number >> level] = node
    assert tops == {size: merkle.root(lambda *at: made[at], size) for size in range(70)}
    for size in (1, 2, 31, 64, 70):
        assert merkle.opened(book.checkpoint(size), book.origin, KEY.public, identity.verify).size == size
        top = merkle.root(lambda *at: made[at], size)
        assert merkle.included(merkle.leaf(texts[size - 1]), size - 1, size, book.inclusion(size - 1, size), top)
        assert merkle.consistent(size, top, 70, merkle.root(lambda *at: made[at], 70), book.consistency(size, 70))


def test_a_clock_that_goes_back_shows(store: s.Store):
    for when in (100, 200, 150, 150):
        store.write(lambda c, when=when: logbook.append(c, when, "coordinator", "paused", run="r"))
    found = [json.loads(text) for text in Logbook(store, KEY).entries(0, 10)]
    assert [(one["seq"], one["time"], one["before"]) for one in found] == [(0, 100, 100), (1, 200, 100), (2, 150, 200), (3, 150, 150)]


def test_what_did_not_happen_leaves_no_entry_and_no_hole(store: s.Store):
    grow(store, 5)
    book = Logbook(store, KEY)
    before = book.checkpoint()

    def half(c: Any) -> None:
        logbook.append(c, 9, "leeds", "joined", site="leeds")
        raise NotFound("the other half of the act failed")

    with pytest.raises(NotFound):
        store.write(half)
    assert book.checkpoint() == before
    outcomes: list[Any] = []
    jobs = [lambda c: logbook.append(c, 10, "a", "paused"), half, lambda c: logbook.append(c, 10, "b", "paused")]
    batch = [s.Job(job, lambda outcome, error: outcomes.append((outcome, error)), None) for job in jobs]
    s.tell(store.transact(batch))  # all in one transaction, as when they wait together
    assert sorted(outcome for outcome, error in outcomes if error is None) == [5, 6]
    assert [json.loads(text)["actor"] for text in book.entries(5, 10)] == ["a", "b"]


def test_a_site_is_given_what_it_needs_and_all_of_it_holds(store: s.Store):
    grow(store, 10)
    book = Logbook(store, KEY)
    first = checked(book.for_site([], site="site1"), {})
    assert first.size == 10
    store.write(lambda c: logbook.append(c, 300, "coordinator", "task", run="r9", place=[0, 1, 1, "sum"], digest="d"))
    grow(store, 9)
    document = book.for_site([10], site="site1", run="r9", since=10)
    assert checked(document, {10: first.root}).size == 20
    assert [json.loads(one["leaf"])["action"] for one in document["own"]] == ["task"]
    assert json.loads(json.dumps(document)) == document
    mine = book.for_site([10], site="site1", run="r1", since=10)["own"]
    assert [json.loads(one["leaf"])["action"] for one in mine] == ["update"] * 3
    older = merkle.opened(book.checkpoint(7), book.origin, KEY.public, identity.verify)
    assert checked(book.for_site([7, 10], [0, 19]), {7: older.root, 10: first.root}).size == 20
    ahead = book.for_site([10, 99], [50])  # a site that has seen more than there is: after a restored backup
    assert (ahead["consistency"][1], ahead["own"]) == ([], [])


def test_a_site_that_asks_from_the_beginning_costs_little(store: s.Store, monkeypatch: pytest.MonkeyPatch):
    grow(store, 400)
    book = Logbook(store, KEY)
    found = [one["seq"] for one in book.for_site([], site="site1", run="r1")["own"]]
    assert found == list(range(400))[1::3][-logbook.FEW :]
    monkeypatch.setattr(logbook, "FAR", 9)
    assert [one["seq"] for one in book.for_site([], site="site1", run="r1")["own"]] == [391, 394, 397]
    assert len(book.for_site(range(400))["consistency"]) == logbook.FEW


def test_a_copy_has_a_checkpoint_every_64_entries(store: s.Store):
    grow(store, 200)
    book = Logbook(store, KEY)
    for start, end, sizes in ((0, 200, [64, 128, 192, 200]), (64, 128, [128]), (3, 10, [10]), (63, 65, [64, 65])):
        found = [merkle.opened(note, book.origin, KEY.public, identity.verify).size for note in book.checkpoints(start, end)]
        assert found == sizes


def test_sizes_that_were_not_reached_are_refused(store: s.Store):
    grow(store, 4)
    book = Logbook(store, KEY)
    for ask in (lambda: book.checkpoint(5), lambda: book.consistency(3, 9), lambda: book.consistency(4, 3), lambda: book.inclusion(4, 4)):
        with pytest.raises(NotFound, match="4 entries"):
            ask()


def test_memory_of_hashes_is_bounded(store: s.Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logbook, "HELD", 4)
    grow(store, 100)
    book = Logbook(store, KEY)
    top = merkle.opened(book.checkpoint(), book.origin, KEY.public, identity.verify).root
    for seq in range(0, 100, 7):
        leaf = merkle.leaf(book.entries(seq, 1)[0].encode())
        assert merkle.included(leaf, seq, 100, book.inclusion(seq, 100), top)
    assert len(book.held) <= 4


def test_a_row_taken_out_by_hand_is_named(store: s.Store):
    grow(store, 8)
    store.write(lambda c: c.execute(s.entry.delete().where(s.entry.c.seq == 3)).rowcount)
    with pytest.raises(StorageError, match="entry 3 of the log"):
        Logbook(store, KEY).inclusion(2, 8)


def test_a_failure_of_the_database_is_said_in_our_words(store: s.Store):
    store.write(lambda c: c.exec_driver_sql("DROP TABLE entry").rowcount)
    with pytest.raises(StorageError, match="no such table"):
        store.write(lambda c: logbook.append(c, 1, "a", "paused"))


@in_loop
async def test_a_whole_run_leaves_one_entry_for_each_act(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        await world.submit()  # the same study again is no act
        await served(run, *sites)
        rounds = (await world.status(run))["rounds"]
        found = of(world)
    assert found[0] == found[0] | {"action": "founded", "key": world.app.door.key.public, "actor": "operator"}
    assert [one["action"] for one in found[:8]] == ["founded", "invited", "joined", "invited", "joined", "submitted", "enlisted", "started"]
    assert (found[6]["count"], found[6]["study"]) == (2, found[5]["study"])
    assert found[7] == found[7] | {"actor": "operator", "sites": ["amber", "birch"], "run": run}
    assert found[-1]["action"] == "finished"
    assert found[-1]["digest"] == found[-2]["digest"]  # what the last round became is the run's results
    counted = Counter(one["action"] for one in found[8:])
    assert counted == {"task": len(rounds), "update": 2 * len(rounds), "closed": len(rounds), "applied": len(rounds), "finished": 1}
    for each in {tuple(one["place"]) for one in found if "place" in one}:
        acts = [one["action"] for one in found if one.get("place") == list(each)]
        assert acts == ["task", "update", "update", "closed", "applied"]
    for closed in (one for one in found if one["action"] == "closed"):
        committed = {one["site"]: one["digest"] for one in found if one["action"] == "update" and one["place"] == closed["place"]}
        assert (closed["sites"], closed["digest"]) == (sorted(committed), digest(committed))


@in_loop
async def test_a_site_finds_its_task_and_its_update_in_the_log(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        found, frame = await sites[0].once(run)
        task = found["task"]
        mine = world.app.means.logbook.for_site([0], site="amber", run=run)
        (opened,) = (json.loads(one["leaf"]) for one in mine["own"] if '"task"' in one["leaf"])
        assert opened["digest"] == task_digest(task)
        answer, vector = await sites[0].update(task, frame)
        await sites[0].work(run, answer, vector, wait_s=0)
        await sites[0].work(run, answer, vector, wait_s=0)  # a repetition is no second act
        updates = [one for one in of(world) if one["action"] == "update"]
    assert [(one["site"], one["digest"], one["place"]) for one in updates] == [("amber", answer.digest, task["place"])]


@in_loop
async def test_orders_and_failures_leave_one_entry_each_and_what_is_refused_leaves_none(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        for order in ("pause", "resume", "pause", "resume"):
            await world.operator.call("POST", f"/v1/runs/{run}/{order}", {})
        with pytest.raises(Refused):
            await world.operator.call("POST", f"/v1/runs/{run}/resume", {})
        found, _ = await sites[0].once(run)
        no = Answer(run, place_of(found["task"]["place"]), failure="storage", says="patient 4711 does not fit")
        await sites[0].work(run, no, wait_s=0)
        await world.until(run, "running", lambda now: now["attempt"] == 2)
        await world.operator.call("POST", f"/v1/runs/{run}/stop", {})
        with pytest.raises(Refused):
            await world.operator.call("POST", f"/v1/runs/{run}/stop", {})
        with pytest.raises(Refused):
            await world.operator.call("POST", "/v1/invites", {"name": ""})
        entries = of(world)
    acts = [(one["action"], one["actor"]) for one in entries[7:]]
    assert acts == [
        ("started", "operator"), ("task", "coordinator"), ("paused", "operator"), ("resumed", "operator"), ("paused", "operator"),
        ("resumed", "operator"), ("failure", "amber"), ("abandoned", "coordinator"), ("task", "coordinator"), ("stopped", "operator"),
    ]  # fmt: skip
    (failure,) = (one for one in entries if one["action"] == "failure")
    assert failure["failure"] == "storage"
    assert "4711" not in json.dumps(entries)


@in_loop
async def test_a_run_that_pauses_by_itself_or_fails_says_so_once(tmp_path: Path):
    world = World(tmp_path / "hub", plan=plan_of(rounds=2))
    async with world.app.running():
        sites = await world.join("amber", "birch")
        run = await world.start(*sites)
        found, _ = await sites[0].once(run)
        no = Answer(run, place_of(found["task"]["place"]), failure="refused", says="no", final=True)
        await sites[0].work(run, no, wait_s=0)
        await world.until(run, "paused")
        paused = [(one["action"], one["actor"]) for one in of(world)[-3:]]
        await world.app.runs.recover()
        live = world.app.runs.live[run]
        await driver.fail(world.app.means, live, "it cannot go on")
        last = of(world)[-1]
    assert paused == [("failure", "amber"), ("abandoned", "coordinator"), ("paused", "coordinator")]
    assert (last["action"], last["actor"], last["run"]) == ("failed", "coordinator", run)


@in_loop
async def test_people_and_sites_read_the_log(tmp_path: Path):
    world = World(tmp_path / "hub")
    async with world.app.running():
        (amber,) = await world.join("amber")
        public = world.app.door.key.public
        for who in (world.operator, amber):
            told = await who.call("GET", "/v1/log")
            now = merkle.opened(told["note"], told["origin"], public, identity.verify)
            assert (told["size"], told["public"]) == (now.size, public) == (3, public)
            page = await who.call("GET", "/v1/log/entries", query="start=1&count=1")
            assert json.loads(page["entries"][0])["action"] == "invited"
            assert [merkle.opened(note, told["origin"], public, identity.verify).size for note in page["notes"]] == [2]
            proof = await who.call("GET", "/v1/log/proof", query="entry=1&size=3")
            hashes = [bytes.fromhex(each) for each in proof["proof"]]
            assert merkle.included(merkle.leaf(page["entries"][0].encode()), 1, 3, hashes, now.root)
            assert len((await who.call("GET", "/v1/log/proof", query="old=1&size=3"))["proof"]) > 0
        assert (await world.operator.call("GET", "/v1/log/entries", query="start=9")) == {"start": 9, "entries": [], "notes": []}
        for query, code in (
            ("size=3", "frame"),
            ("entry=1&old=1&size=3", "frame"),
            ("entry=7&size=3", "not_found"),
            ("old=1&size=9", "not_found"),
        ):
            with pytest.raises(Refused) as refused:
                await world.operator.call("GET", "/v1/log/proof", query=query)
            assert refused.value.code == code


def test_every_action_is_described():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text().partition("## The log")[2]
    assert [name for name in logbook.ACTIONS if f"`{name}`" not in page] == []
    assert set(records.ACTS) <= logbook.ACTIONS.keys()
