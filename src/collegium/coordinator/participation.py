"""Who takes part in a study, as its lead signed it: kept here, shown to every site, and never made here.

The coordinator checks a list for the lead's sake, so that a slip is told when it is made. The sites check it for their own
(`site/invites`): they believe no list because this coordinator took it.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from collegium.coordinator import logbook, records
from collegium.coordinator import store as s
from collegium.coordinator.members import Caller, Members
from collegium.errors import ConflictError, IdentityError, NotAllowed, NotFound
from collegium.study import participants
from collegium.study.participants import Entry


class Participation(NamedTuple):
    """A study's lead (a public key, or nothing as long as there is no list) and the list so far."""

    lead: str
    entries: list[Entry]

    def document(self) -> dict[str, object]:
        """As it is told to people and to sites."""
        return {"lead": self.lead, "participants": participants.as_document(self.entries)}


def of(c: Connection, study: str) -> Participation:
    """The participation in a study; nobody's where there is none yet."""
    lead = str(c.execute(select(s.study.c.lead).where(s.study.c.digest == study)).scalar() or "")
    rows = c.execute(select(s.participant).where(s.participant.c.study == study).order_by(s.participant.c.number))
    return Participation(lead, [Entry(row.text, row.signature) for row in rows])


def offered(c: Connection, study: str, roster: Collection[str]) -> Participation:
    """What the sites of a run are told: the same to each of them, whatever is appended while the run goes on."""
    found = of(c, study)
    return found._replace(entries=participants.upto(found.entries, list(roster)))


def named(c: Connection, study: str, roster: Collection[str]) -> list[str]:
    """The participants that the sites of a run are told; the run's own sites where there is no list."""
    found = offered(c, study, roster)
    return [*participants.read(found.entries, study, found.lead)] or sorted(roster)


def checked(known: Participation, more: Sequence[Entry], study: str, caller: Caller, members: Members) -> Participation:
    """The list with these entries at its end, if its lead asks and every new site has joined with that very key."""
    if known.lead not in ("", caller.key):
        raise NotAllowed(
            "this study's participants are named by its lead, who signed the list with another key",
            hint="ask the lead to add the sites, or submit a study of your own: another title makes another study",
        )
    entries = [*known.entries, *more]
    found = participants.read(entries, study, caller.key)
    for site in [*found][len(known.entries) :]:
        if (here := members.sites.get(site)) is None:
            raise NotFound(f"no site {site!r} has joined", hint=f"joined are: {', '.join(sorted(members.sites)) or 'none'}")
        if here.key != found[site]:
            raise IdentityError(f"the list gives {site!r} another key than the one it joined with", hint="fetch the sites' keys anew")
    return Participation(caller.key if entries else "", entries)


def add(c: Connection, study: str, known: Participation, after: Participation, by: str, at: int) -> None:
    """Write the new entries. Raises `ConflictError` if somebody else was faster."""
    if of(c, study) != known:
        raise ConflictError("the participant list was changed meanwhile", hint="look at it again, then repeat")
    c.execute(s.study.update().where(s.study.c.digest == study).values(lead=after.lead))
    for number, entry in enumerate(after.entries[len(known.entries) :], len(known.entries) + 1):
        c.execute(s.participant.insert().values(study=study, number=number, text=entry.text, signature=entry.signature))
    logbook.append(c, at, by, "enlisted", study=study, count=len(after.entries), digest=participants.head(after.entries))


async def append(members: Members, study: str, caller: Caller, document: object) -> Participation:
    """Put further sites on the list of a study that is here. Raises `NotFound`, or whatever is wrong with the entries."""
    store = members.store
    known = store.read(lambda c: (records.study_document(c, study), of(c, study))[1])
    after = checked(known, participants.entries_of(document), study, caller, members)
    await store.commit(lambda c: add(c, study, known, after, caller.name, members.now()))
    return after


async def submit(members: Members, row: dict[str, Any], caller: Caller, document: object) -> Participation:
    """Store a study with its list, both or neither; the same again, or a list without news, changes nothing."""
    store, study = members.store, str(row["digest"])
    known = store.read(lambda c: of(c, study))
    entries = participants.entries_of(document)
    more = entries[len(known.entries) :] if entries[: len(known.entries)] == known.entries else entries
    after = checked(known, more, study, caller, members) if more else known

    def both(c: Connection) -> None:
        records.add_study(c, row, caller.name)
        if more:
            add(c, study, known, after, caller.name, members.now())

    await store.commit(both)
    return after


def starting(known: Participation, wanted: Collection[str] | None, study: str, members: Members) -> list[str]:
    """Which sites a run asks: those named, or all on the list. Raises for a site whose key the lead did not sign."""
    listed = participants.read(known.entries, study, known.lead)
    chosen = sorted(set(listed if wanted is None else wanted))
    for site in chosen:
        if site not in members.sites:
            raise NotFound(f"no site {site!r} has joined", hint=f"joined are: {', '.join(sorted(members.sites)) or 'none'}")
        if site not in listed:
            way = "`collegium study start` signs the list with your key and adds it"
            raise ConflictError(f"site {site!r} is not on the study's participant list, so no hospital would compute beside it", hint=way)
        if members.sites[site].key != listed[site]:
            raise ConflictError(
                f"site {site!r} has joined again with another key than the one on the study's participant list",
                hint="leave it out with --site, or submit the study anew: another title makes another study, with a list of its own",
            )
    return chosen
