"""Who is known here: sites that joined with an invitation, and the people who may ask for something."""

import re
import secrets
from collections.abc import Callable
from typing import Literal, NamedTuple

from sqlalchemy import Connection, select

from collegium.coordinator import logbook, records
from collegium.coordinator import store as s
from collegium.coordinator.records import Event
from collegium.coordinator.store import Store
from collegium.errors import ConflictError, IdentityError
from collegium.identity import secret_hash

Role = Literal["stranger", "site", "researcher", "operator"]
VALID_S = 72 * 3600  # how long an invitation may be used
NAME = re.compile(r"[^\W_][\w .,'()&-]{0,79}")


class Caller(NamedTuple):
    """Who sent a request, known by the key that signed it."""

    key: str
    role: Role
    name: str


class Joined(NamedTuple):
    """A site, and its key."""

    name: str
    key: str
    version: str
    at: int


class Members:
    """The keys that are known. They are few, so they are in memory; each change is committed first."""

    def __init__(self, store: Store, now: Callable[[], int]) -> None:
        self.store, self.now = store, now
        self.callers: dict[str, Caller] = {}
        self.sites: dict[str, Joined] = {}
        self.seen: dict[str, int] = {}  # when each site last asked
        store.read(self.learn)

    def learn(self, c: Connection) -> None:
        """Read all keys."""
        for row in c.execute(select(s.person)):
            self.callers[row.key] = Caller(row.key, row.role, row.name)
        for row in c.execute(select(s.site)):
            self.seen[row.name] = row.seen
            self.welcome(Joined(row.name, row.key, row.version, row.joined))

    def welcome(self, site: Joined) -> None:
        """A site speaks with this key from now on, and with no other."""
        if before := self.sites.get(site.name):
            self.callers.pop(before.key, None)
        self.sites[site.name] = site
        self.callers[site.key] = Caller(site.key, "site", site.name)

    def who(self, key: str) -> Caller:
        """The owner of a key; a stranger if it is not known."""
        return self.callers.get(key) or Caller(key, "stranger", "")

    async def invite(self, name: str, *, by: str = logbook.ITSELF) -> bytes:
        """The secret of a new invitation for one site. Inviting a name again lets that site come back with a new key."""
        if not NAME.fullmatch(name):
            raise ConflictError(
                f"a site cannot be called {name[:80]!r}",
                hint="use up to 80 letters, digits, spaces and . , ' ( ) & - starting with a letter",
            )
        secret, now = secrets.token_bytes(16), self.now()
        await self.store.commit(lambda c: invited(c, secret_hash(secret), name, now, by))
        return secret

    async def join(self, secret: bytes, key: str, version: str) -> str:
        """The name of the site that joins with this secret. The same key may ask again; another one gets `ConflictError`."""
        hashed, now = secret_hash(secret), self.now()
        site = await self.store.commit(lambda c: joined(c, hashed, key, version[:40], now))
        self.seen[site] = now
        self.welcome(Joined(site, key, version[:40], now))
        return site

    async def remember(self) -> None:
        """Write down when each site was last seen."""
        seen = dict(self.seen)
        await self.store.commit(lambda c: [c.execute(s.site.update().where(s.site.c.name == n).values(seen=t)) for n, t in seen.items()])


def invited(c: Connection, hashed: str, name: str, now: int, by: str) -> None:
    """A new invitation; older ones for this name that were not used no longer hold."""
    c.execute(s.invite.delete().where(s.invite.c.site == name, s.invite.c.used.is_(None)))
    c.execute(s.invite.insert().values(hash=hashed, site=name, expires=now + VALID_S, used=None, key=None))
    logbook.append(c, now, by, "invited", site=name, digest=hashed)


def joined(c: Connection, hashed: str, key: str, version: str, now: int) -> str:
    """Use an invitation up, in one statement: of two that try, one succeeds."""
    i = s.invite.c
    fresh = s.invite.update().where(i.hash == hashed, i.used.is_(None), i.expires > now)
    took = c.execute(fresh.values(used=now, key=key)).rowcount == 1
    found = c.execute(select(s.invite).where(i.hash == hashed)).first()
    if found is None:
        raise IdentityError("this join code is not known here", hint="ask the operator of the coordinator for a new one")
    if not took:
        if found.key == key:
            return str(found.site)  # the answer was lost on the way
        if found.used:
            raise ConflictError("this join code was used already", hint="each site needs a code of its own: ask the operator for a new one")
        raise IdentityError("this join code is out of date: it holds 72 hours", hint="ask the operator of the coordinator for a new one")
    if (other := c.execute(select(s.site.c.name).where(s.site.c.key == key)).scalar()) not in (None, found.site):
        raise ConflictError(f"this key belongs to site {other!r} already", hint="join from a folder of its own for each site")
    again = c.execute(s.site.update().where(s.site.c.name == found.site).values(key=key, version=version, joined=now, seen=now)).rowcount
    if not again:
        c.execute(s.site.insert().values(name=found.site, key=key, version=version, joined=now, seen=now))
    records.tell(c, Event(now, "", found.site, "joined", f"{found.site} joined{' again, with a new key' if again else ''}"))
    logbook.append(c, now, found.site, "joined", site=found.site, key=key)
    return str(found.site)
