"""What runs write into the database and read back, as functions of a connection.

A round's row goes from `open` by way of `closed` to `applied`, or to `abandoned`. Each step names the state it starts from, so
of two that try the same step one succeeds; the other gets `ConflictError` and reads again. What must not be denied later is
written into the log by the same functions, so in the same transaction: a task, an update, a round's end, a run's.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, LargeBinary, String, and_, bindparam, case, exists, func, select

from collegium.canonical import digest, task_digest
from collegium.coordinator import logbook
from collegium.coordinator import store as s
from collegium.coordinator.blobs import Frame
from collegium.engine.messages import Answer, Place
from collegium.errors import ConflictError, NotFound, by_code

LIVE = ("running", "paused")
ACTS = ("started", "paused", "resumed", "stopped", "failed", "finished")  # of a run, in the log


class Event(NamedTuple):
    """Something that happened, for people."""

    at: int
    run: str
    site: str
    kind: str
    says: str
    figures: Mapping[str, Any] = {}
    id: int = 0


def key(run: str, place: Place) -> dict[str, Any]:
    """The columns that name a round."""
    return {"run": run, "stage": place.stage, "number": place.round, "attempt": place.attempt, "phase": place.phase}


def at(table: Any, run: str, place: Place) -> Any:
    """The rows of one round."""
    return and_(*(table.c[name] == value for name, value in key(run, place).items()))


def named(table: Any) -> Any:
    """The rows of the round that `of` names."""
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in s.PLACE))


def of(run: str, place: Place) -> dict[str, Any]:
    """Names a round to a statement made with `named`."""
    return {f"of_{name}": value for name, value in key(run, place).items()}


# To make a statement takes longer than to run it: those of every round are made once.
TELL, ASK = s.happened.insert(), s.round.insert()
CLOSE = s.round.update().where(named(s.round), s.round.c.status == "open")
TURN = s.round.update().where(named(s.round), s.round.c.status == "closed")
MOVE = s.run.update().where(s.run.c.id == bindparam("of_run"), s.run.c.place == bindparam("of_place"), s.run.c.status.in_(LIVE))
DROP = s.upload.delete().where(named(s.upload))
FORGET = s.frame.delete().where(s.frame.c.run == bindparam("of_run"), s.frame.c.digest == bindparam("of_digest"))
PRESENT = logbook.Quick(select(s.run.c.study, s.run.c.layout, s.run.c.state).where(s.run.c.id == bindparam("of_run")))
ANSWERS = select(s.upload.c.site, s.upload.c.body).where(named(s.upload), s.upload.c.failure == "")


def tell(connection: Connection, event: Event, *, by: str = logbook.ITSELF) -> None:
    """Write down what happened; where a run begins, rests, goes on or ends, also in the log, with who ordered it."""
    values = event._asdict() | {"figures": json.dumps(event.figures)}
    del values["id"]
    connection.execute(TELL, values)
    if event.kind == "blamed" and event.site:
        logbook.append(connection, event.at, logbook.ITSELF, event.kind, run=event.run, site=event.site)
    if event.kind in ACTS:
        row = run_row(connection, event.run)
        more = {"sites": sorted(json.loads(row.roster))} if event.kind == "started" else {"digest": row.results} if row.results else {}
        logbook.append(connection, event.at, by, event.kind, run=event.run, study=row.study, **more)


def tell_all(connection: Connection, events: Iterable[Event]) -> None:
    """Write down all that happened."""
    for event in events:
        tell(connection, event)


def events(connection: Connection, run: str, after: int, limit: int = 1000) -> list[Event]:
    """What happened in a run after event number `after`, oldest first."""
    query = select(s.happened).where(s.happened.c.run == run, s.happened.c.id > after).order_by(s.happened.c.id).limit(limit)
    return [Event(r.at, r.run, r.site, r.kind, r.says, json.loads(r.figures), r.id) for r in connection.execute(query)]


def open_round(connection: Connection, run: str, place: Place, now: int) -> None:
    """A new round asks for answers. The log keeps the digest of what is asked, which each site can hold against its task."""
    values = key(run, place) | {"status": "open", "answered": "{}", "figures": "{}", "opened": now}
    connection.execute(ASK, values)
    study, layout, state = PRESENT(connection, of_run=run).fetchone()
    where = {"run": run, "place": list(place)}
    asked = where | {"study": study, "layout": json.loads(layout), "state": json.loads(state).get("shared", "")}
    logbook.append(connection, now, logbook.ITSELF, "task", **where, digest=task_digest(asked))


def turn_round(connection: Connection, run: str, place: Place, before: Collection[str], *, becomes: str = "", **values: Any) -> None:
    """Move a round on from one of the states `before`. Raises `ConflictError` if it is in none of them.

    The log says whose answers count, at `closed` or with `applied`, and which frame the round `becomes`.
    """
    was_open = connection.execute(CLOSE, of(run, place) | values).rowcount == 1
    if not was_open and ("closed" not in before or connection.execute(TURN, of(run, place) | values).rowcount != 1):
        raise ConflictError(f"run {run}, {place}: another process has moved this round on")
    when, status, where = values["ended"], values["status"], {"run": run, "place": list(place)}
    if was_open and status != "abandoned":
        counted = json.loads(values["answered"])
        logbook.append(connection, when, logbook.ITSELF, "closed", **where, sites=sorted(counted), digest=digest(counted))
    if status == "applied":
        logbook.append(connection, when, logbook.ITSELF, "applied", **where, digest=becomes)
    if status == "abandoned":
        logbook.append(connection, when, logbook.ITSELF, "abandoned", **where)


def move_run(connection: Connection, run: str, place: Place, /, **values: Any) -> None:
    """Change a run that stands at this place and is not over. Raises `ConflictError` if it does not."""
    if connection.execute(MOVE, {"of_run": run, "of_place": place_text(place), **values}).rowcount != 1:
        raise ConflictError(f"run {run} no longer stands at {place}: another process has moved it on")


def place_text(place: Place) -> str:
    """A place as it stands in a run's row."""
    return json.dumps(list(place), separators=(",", ":"))


def add_upload(connection: Connection, run: str, site: str, answer: Answer, body: bytes | None, *, now: int) -> str:
    """Commit an answer, once: `new`, which stands in the log, `same` for a repetition, `late` if its round is over.

    Raises `ConflictError` for other bytes under the same place.
    """
    values: dict[str, Any] = key(run, answer.place) | {
        "site": site, "digest": answer.digest, "nbytes": answer.nbytes, "body": body, "failure": answer.failure,
        "says": answer.says, "final": int(answer.final),
    }  # fmt: skip
    if connection.execute(adding(connection.dialect.name), values).rowcount == 1:
        where = {"run": run, "place": list(answer.place), "site": site}
        if answer.failure:
            logbook.append(connection, now, site, "failure", **where, failure=by_code(answer.failure).code)
        else:
            logbook.append(connection, now, site, "update", **where, digest=answer.digest)
        return "new"
    query = select(s.upload.c.digest, s.upload.c.failure).where(at(s.upload, run, answer.place), s.upload.c.site == site)
    found = connection.execute(query).first()
    if found is None:
        return "late"
    if (found.digest, found.failure) != (answer.digest, answer.failure):
        raise ConflictError(
            f"{answer.place}: site {site!r} has answered with other bytes before; the first answer stays",
            hint="an answer is sent again unchanged, or not at all",
        )
    return "same"


@cache
def adding(dialect: str) -> Any:
    """The statement of `add_upload`, made once: to make it takes longer than to run it, and each site needs it in each round."""
    kinds = dict.fromkeys(("stage", "number", "attempt", "nbytes", "final"), BigInteger()) | {"body": LargeBinary()}
    given = {name: bindparam(name, type_=kinds.get(name, String())) for name in s.upload.c.keys()}  # noqa: SIM118 - columns, not a dict
    is_open = exists().where(*(s.round.c[name] == given[name] for name in s.PLACE), s.round.c.status == "open")
    row = select(*(value.label(name) for name, value in given.items())).where(is_open)
    return s.inserting(dialect, s.upload).from_select([*given], row)


def uploads(connection: Connection, run: str, place: Place) -> list[Any]:
    """Who answered a round, and how; without the bytes."""
    u = s.upload.c
    return list(connection.execute(select(u.site, u.digest, u.failure, u.says, u.final).where(at(s.upload, run, place)).order_by(u.site)))


def bodies(connection: Connection, run: str, place: Place, sites: Collection[str]) -> Iterator[bytes]:
    """The small vectors of these sites, one at a time. Raises `ConflictError` if one is gone."""
    left = set(sites)
    for row in connection.execute(ANSWERS, of(run, place), execution_options={"yield_per": 16}):
        if row.site in left:
            left.discard(row.site)
            yield row.body
    if left:
        raise ConflictError(f"run {run}, {place}: the answers are gone: another process has added them up")


def drop_uploads(connection: Connection, run: str, place: Place) -> None:
    """A site's update is kept until its round is over, and no longer."""
    connection.execute(DROP, of(run, place))


def change_frames(connection: Connection, run: str, add: Iterable[Frame], drop: Iterable[str]) -> None:
    """Which frames a run needs from now on."""
    if rows := [{"run": run, "digest": f.digest, "nbytes": f.nbytes, "body": f.body} for f in add]:
        connection.execute(keeping(connection.dialect.name), rows)
    if gone := [{"of_run": run, "of_digest": digest} for digest in drop]:
        connection.execute(FORGET, gone)


@cache
def keeping(dialect: str) -> Any:
    """The statement that adds frames."""
    return s.inserting(dialect, s.frame)


def frames(connection: Connection, run: str) -> dict[str, Frame]:
    """The frames that a run needs."""
    return {r.digest: Frame(r.digest, r.nbytes, r.body) for r in connection.execute(select(s.frame).where(s.frame.c.run == run))}


def frame_wanted(connection: Connection, digest: str) -> bool:
    """Whether any run needs this frame."""
    return connection.execute(select(s.frame.c.run).where(s.frame.c.digest == digest).limit(1)).first() is not None


def results_frame(connection: Connection, digest: str, site: str | None) -> Frame:
    """The results of a run that are under this digest, for a site of its roster, or (None) for an operator. Raises `NotFound`."""
    query = select(s.frame, s.run.c.roster).join(s.run, s.run.c.id == s.frame.c.run)
    for row in connection.execute(query.where(s.frame.c.digest == digest, s.run.c.results == digest)):
        if site is None or site in json.loads(row.roster):
            return Frame(row.digest, row.nbytes, row.body)
    if site is not None:
        return sum_frame(connection, digest, site)
    raise NO_FRAME


NO_FRAME = NotFound("there is no such frame: its round may be over", hint="ask for work: the next task names the present one")


OF_MACHINE = s.secure.c.name.notlike("bundle/%") & (s.secure.c.name != "sum")


def secure_rows(connection: Connection, run: str) -> dict[int, dict[str, str]]:
    """What the machines of a run's secure sums keep, by cohort; without the sealed shares, which are large."""
    found = select(s.secure.c.cohort, s.secure.c.name, s.secure.c.text).where(s.secure.c.run == run, OF_MACHINE)
    out: dict[int, dict[str, str]] = {}
    for row in connection.execute(found):
        out.setdefault(row.cohort, {})[row.name] = row.text
    return out


def refuse_gap(connection: Connection, run: str, cohort: int, before: Mapping[str, str]) -> None:
    """Raise `ConflictError` where these rows are not those on the disk, told by number and stand.

    The step before found no room, another process has made one, or the run is over: a step that builds on what is not there
    would leave a phase whose messages are missing.
    """
    stand, count = connection.execute(STANDING, {"of_run": run, "of_cohort": cohort}).one()
    if (stand or "", count) != (before.get("stand", ""), len(before)):
        raise ConflictError(f"run {run}: the secure sum does not stand where this step begins", hint="ask for work: it is said again")


def sealed_for(connection: Connection, run: str, cohort: int, site: str, senders: Iterable[str]) -> dict[str, str]:
    """The sealed shares that these sites dealt to one of them, by row."""
    names = [f"bundle/{sender}/{site}" for sender in senders if sender != site]
    found = select(s.secure.c.name, s.secure.c.text).where(
        s.secure.c.run == run, s.secure.c.cohort == cohort, s.secure.c.name.in_(names)
    )  # fmt: skip
    return {row.name: row.text for row in connection.execute(found)}


KEEP = s.secure.insert()
STANDING = select(func.max(case((s.secure.c.name == "stand", s.secure.c.text))), func.count()).where(
    s.secure.c.run == bindparam("of_run"), s.secure.c.cohort == bindparam("of_cohort"), OF_MACHINE, s.secure.c.name != "pins",
)  # fmt: skip
LET_GO = s.secure.delete().where(
    s.secure.c.run == bindparam("of_run"), s.secure.c.cohort == bindparam("of_cohort"), s.secure.c.name == bindparam("of_name")
)


def change_secure(connection: Connection, run: str, cohort: int, rows: Mapping[str, str], forget: Collection[str]) -> None:
    """Write rows of a cohort's machine and destroy others; a name that ends in `/` stands for all that begin with it."""
    mine = (s.secure.c.run == run) & (s.secure.c.cohort == cohort)
    for name in (name for name in forget if name.endswith("/")):
        connection.execute(s.secure.delete().where(mine, s.secure.c.name.startswith(name, autoescape=True)))
    if gone := [{"of_run": run, "of_cohort": cohort, "of_name": name} for name in [*forget, *rows] if not name.endswith("/")]:
        connection.execute(LET_GO, gone)
    if rows:
        connection.execute(KEEP, [{"run": run, "cohort": cohort, "name": name, "text": text} for name, text in rows.items()])


def drop_secure(connection: Connection, run: str) -> None:
    """Destroy all that a run's secure sums kept, but for where they stood: the number of an epoch is used once in a study.

    Where the last sums are that sites check also stays: some ask when the run is over.
    """
    connection.execute(s.secure.delete().where(s.secure.c.run == run, s.secure.c.name.notin_(("stand", "sum"))))


def show_sums(connection: Connection, run: str, sums: Mapping[int, Mapping[str, Any]]) -> None:
    """Where the sums are that a run's sites check, by cohort: those of the last round that closed, until the next."""
    connection.execute(s.secure.delete().where(s.secure.c.run == run, s.secure.c.name == "sum"))
    for cohort, document in sums.items():
        connection.execute(KEEP, {"run": run, "cohort": cohort, "name": "sum", "text": json.dumps(document)})


def shown_sums(connection: Connection, run: str) -> dict[int, dict[str, Any]]:
    """The same, read back."""
    found = select(s.secure.c.cohort, s.secure.c.text).where(s.secure.c.run == run, s.secure.c.name == "sum").order_by(s.secure.c.cohort)
    return {row.cohort: json.loads(row.text) for row in connection.execute(found)}


def sum_frame(connection: Connection, digest: str, site: str) -> Frame:
    """A sum that is shown to this site, in whatever run. Raises `NotFound`."""
    query = select(s.frame, s.run.c.roster).join(s.run, s.run.c.id == s.frame.c.run).where(s.frame.c.digest == digest)
    for row in connection.execute(query):
        if site in json.loads(row.roster) and digest in [each["sum"] for each in shown_sums(connection, row.run).values()]:
            return Frame(row.digest, row.nbytes, row.body)
    raise NO_FRAME


def last_epoch(connection: Connection, study: str) -> int:
    """The highest number that an epoch of this study had, in whatever run."""
    found = select(s.secure.c.text).join(s.run, s.run.c.id == s.secure.c.run).where(s.run.c.study == study, s.secure.c.name == "stand")
    return max((int(json.loads(text)["epoch"]) for text in connection.execute(found).scalars()), default=0)


def add_study(connection: Connection, row: Mapping[str, Any], by: str) -> None:
    """Keep a study; the same one again changes nothing."""
    if connection.execute(s.insert_new(connection, s.study).values(**row)).rowcount == 1:
        logbook.append(connection, row["created"], by, "submitted", study=row["digest"])


def study_document(connection: Connection, digest: str) -> str:
    """A study's canonical JSON. Raises `NotFound`."""
    found = connection.execute(select(s.study.c.document).where(s.study.c.digest == digest)).scalar()
    if found is None:
        raise NotFound(f"there is no study {digest[:16]!r} here", hint="`collegium study list` names those that are")
    return str(found)


def run_row(connection: Connection, run: str) -> Any:
    """A run's row. Raises `NotFound`."""
    found = connection.execute(select(s.run).where(s.run.c.id == run)).first()
    if found is None:
        raise NotFound(f"there is no run {run[:32]!r} here")
    return found


def rounds(connection: Connection, run: str, limit: int = 500) -> list[Any]:
    """The newest rounds of a run, oldest first; `range` stands before `sum`."""
    r = s.round.c
    newest = (r.stage.desc(), r.number.desc(), r.attempt.desc(), r.phase.desc())
    return list(connection.execute(select(s.round).where(r.run == run).order_by(*newest).limit(limit)))[::-1]
