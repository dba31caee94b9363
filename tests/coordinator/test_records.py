"""Rows of runs: an answer counts once, a round moves on once."""

from pathlib import Path

import pytest

from collegium.coordinator import records
from collegium.coordinator import store as s
from collegium.coordinator.blobs import Frame
from collegium.coordinator.records import Event
from collegium.engine.messages import Answer, Place
from collegium.errors import ConflictError, NotFound

PLACE = Place(0, 1, 1, "sum")
ROW = {
    "id": "r1", "study": "s1", "status": "running", "says": "", "place": "[]", "layout": "{}", "target": "{}", "state": "{}",
    "roster": '{"leeds": [null, ""]}', "tries": 1, "created": 5, "ended": None, "results": "", "results_bytes": 0,
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path):
    s.create(tmp_path)
    opened = s.open_folder(tmp_path)
    opened.write(lambda c: c.execute(s.study.insert().values(digest="s1", title="t", document="{}", created=1)))
    opened.write(lambda c: c.execute(s.run.insert().values(**ROW)))
    opened.write(lambda c: records.open_round(c, "r1", PLACE, 7))
    yield opened
    opened.close()


def answer(digest: str = "aa", place: Place = PLACE, **more) -> Answer:
    return Answer("r1", place, digest, 8, **more)


def add(store: s.Store, given: Answer, body: bytes | None = b"12345678", site: str = "leeds") -> str:
    return store.write(lambda c: records.add_upload(c, "r1", site, given, body, now=8))


def test_an_answer_counts_once(store: s.Store):
    assert [add(store, answer()) for _ in range(3)] == ["new", "same", "same"]
    with pytest.raises(ConflictError, match="other bytes"):
        add(store, answer("bb"))
    with pytest.raises(ConflictError):
        add(store, answer("", failure="data"))
    assert add(store, answer("bb"), site="york") == "new"
    assert list(store.read(lambda c: list(records.bodies(c, "r1", PLACE, ["leeds"])))) == [b"12345678"]


@pytest.mark.parametrize("status", ["closed", "applied", "abandoned"])
def test_an_answer_to_a_round_that_is_over_is_late(store: s.Store, status: str):
    add(store, answer(), site="york")
    store.write(lambda c: records.turn_round(c, "r1", PLACE, ["open"], status=status, answered="{}", ended=9))
    assert add(store, answer()) == "late"
    assert add(store, answer(place=PLACE._replace(round=9))) == "late"
    assert add(store, answer(), site="york") == "same"
    assert [row.site for row in store.read(lambda c: records.uploads(c, "r1", PLACE))] == ["york"]


def test_of_two_that_close_a_round_one_succeeds(store: s.Store):
    store.write(lambda c: records.turn_round(c, "r1", PLACE, ["open"], status="closed", answered='{"leeds": "aa"}', ended=9))
    with pytest.raises(ConflictError, match="another process"):
        store.write(lambda c: records.turn_round(c, "r1", PLACE, ["open"], status="closed", answered='{"york": "bb"}', ended=9))
    assert store.read(lambda c: records.rounds(c, "r1"))[0].answered == '{"leeds": "aa"}'


def test_rounds_come_in_the_order_in_which_they_were_asked(store: s.Store):
    later = [Place(0, 1, 2, "range"), Place(0, 1, 2, "sum"), Place(0, 2, 1, "sum"), Place(1, 1, 1, "range"), Place(1, 1, 1, "sum")]
    for place in reversed(later):
        store.write(lambda c, place=place: records.open_round(c, "r1", place, 8))
    found = store.read(lambda c: records.rounds(c, "r1"))
    assert [Place(r.stage, r.number, r.attempt, r.phase) for r in found] == [PLACE, *later]
    assert len(store.read(lambda c: records.rounds(c, "r1", 2))) == 2


def test_events_are_numbered_and_told_from_where_one_left(store: s.Store):
    for k in range(3):
        store.write(lambda c, k=k: records.tell(c, Event(k, "r1", "", "round", f"round {k}", {"loss": 0.5})))
    store.write(lambda c: records.tell(c, Event(9, "r2", "", "round", "elsewhere")))
    found = store.read(lambda c: records.events(c, "r1", 0))
    assert [(e.says, e.figures) for e in found] == [(f"round {k}", {"loss": 0.5}) for k in range(3)]
    assert [e.says for e in store.read(lambda c: records.events(c, "r1", found[1].id))] == ["round 2"]


def test_frames_are_wanted_as_long_as_a_run_needs_them(store: s.Store):
    one, two = Frame("aa", 2, b"12"), Frame("bb", 4, None)
    store.write(lambda c: records.change_frames(c, "r1", [one, two], []))
    store.write(lambda c: records.change_frames(c, "r1", [one], ["bb"]))
    assert store.read(lambda c: records.frames(c, "r1")) == {"aa": one}
    assert [store.read(lambda c, d=d: records.frame_wanted(c, d)) for d in ("aa", "bb")] == [True, False]


def test_results_are_for_sites_that_took_part(store: s.Store):
    store.write(lambda c: records.change_frames(c, "r1", [Frame("aa", 2, b"12"), Frame("bb", 2, b"34")], []))
    store.write(lambda c: c.execute(s.run.update().values(results="aa")).rowcount)
    assert store.read(lambda c: records.results_frame(c, "aa", "leeds")).body == b"12"
    assert store.read(lambda c: records.results_frame(c, "aa", None)).body == b"12"
    for digest, site in (("aa", "york"), ("bb", "leeds")):
        with pytest.raises(NotFound):
            store.read(lambda c, d=digest, x=site: records.results_frame(c, d, x))


def test_a_run_moves_on_from_where_it_stands_or_not_at_all(store: s.Store):
    store.write(lambda c: c.execute(s.run.update().values(place=records.place_text(PLACE))).rowcount)
    store.write(lambda c: records.move_run(c, "r1", PLACE, place=records.place_text(PLACE._replace(round=2))))
    with pytest.raises(ConflictError, match="no longer stands"):
        store.write(lambda c: records.move_run(c, "r1", PLACE, says="again"))
    store.write(lambda c: records.move_run(c, "r1", PLACE._replace(round=2), status="finished"))
    with pytest.raises(ConflictError):
        store.write(lambda c: records.move_run(c, "r1", PLACE._replace(round=2), status="running"))


def test_answers_that_are_gone_are_noticed(store: s.Store):
    add(store, answer())
    with pytest.raises(ConflictError, match="gone"):
        store.read(lambda c: list(records.bodies(c, "r1", PLACE, ["leeds", "york"])))


def test_what_is_not_there_is_not_found(store: s.Store):
    for query in (records.run_row, records.study_document):
        with pytest.raises(NotFound):
            store.read(lambda c, q=query: q(c, "nope"))
