"""A whole epoch of secure sums in one process: shells that carry out the machines' orders, and may be killed between any two.

A shell keeps what a `Persist` wrote (`disk`) apart from the machine in memory; a restart throws the machine away. Site k of a
federation contributes 2^k, so a sum names its sites.
"""

import hashlib
from itertools import count

import numpy as np

from collegium import identity
from collegium.engine.fold import fold_bytes
from collegium.engine.task import frame
from collegium.errors import CollegiumError
from collegium.privacy import masks, ring, secagg, secagg_coordinator, secagg_site
from collegium.privacy.secagg_coordinator import owed
from collegium.privacy.secagg_keys import Asked, Encode, Retire, Send, Site, Warn
from collegium.privacy.secagg_messages import Ask, Upload, document, message_of
from collegium.privacy.secagg_site import Spooled
from collegium.privacy.secagg_stand import (
    Close,
    Coordinator,
    From,
    Open,
    Opened,
    Persist,
    Refused,
    Start,
    Unmask,
)  # fmt: skip

STUDY = "5d" * 32


class Killed(Exception):
    """The process is gone."""


def layout(n):
    return ring.Layout((ring.Leaf("n", "int64", (2,)), ring.Leaf("w", "float32", (3,), -8)), n)


def update(k):
    return {"n": np.array([1 << k, 1]), "w": np.array([k, -k, 0.5], np.float32)}


def written(disk, orders):
    """A disk after these changes: what may wait is among them."""
    disk = dict(disk)
    for order in orders:
        for name in order.forget:
            for row in [row for row in disk if row == name or (name.endswith("/") and row.startswith(name))]:
                del disk[row]
        disk.update(order.rows)
    return disk


class SiteShell:
    def __init__(self, terms, name, number, layout, seed=b""):
        self.terms, self.name, self.number, self.layout, self.seed = terms, name, number, layout, seed
        self.signer = identity.key(hashlib.sha256(b"key" + name.encode()).digest())
        self.disk, self.spool, self.drawn = {}, {}, count()
        self.sent, self.warned, self.kill_after, self.works, self.unwritten = [], [], None, {}, []
        self.update = update(number)
        self.machine = Site(terms, name)

    @property
    def vector(self):
        return np.frombuffer(frame(ring.encode(self.update, self.layout), self.layout.nbytes), np.uint8).copy()

    rows = property(lambda self: written(self.disk, self.unwritten))

    def restart(self):
        self.machine, orders = secagg_site.restored(Site(self.terms, self.name, dict(self.disk)))
        self.unwritten = [order for order in orders if isinstance(order, Persist)]

    def entropy(self):
        return hashlib.sha256(self.seed + f"{self.name}|{next(self.drawn)}".encode()).digest()

    def tell(self, event):
        """What the site answers. A refusal is raised; a kill leaves what was done before it."""
        if isinstance(event, Ask):
            event = Asked(event, event.task, self.works.get(event.task, event.task))
        sent, events = [], [event]
        while events:
            machine, orders = secagg_site.step(self.machine, events.pop(), signer=self.signer, entropy=self.entropy())
            for order in orders:
                self.live()
                events += self.carry_out(order, sent)
            self.machine = machine
        return sent

    def live(self):
        if self.kill_after is not None:
            self.kill_after -= 1
            if self.kill_after < 0:
                self.kill_after = None
                self.restart()
                raise Killed

    def carry_out(self, order, sent):
        match order:
            case Persist(_, _, False):
                self.unwritten.append(order)
            case Persist():
                self.disk, self.unwritten = written(self.disk, [*self.unwritten, order]), []
            case Send(message):
                message = message_of(document(message))
                self.sent.append(message)
                sent.append(message)
            case Encode(asked, found):
                ask = asked.ask
                y = self.vector
                masks.apply(y, self.layout, found)
                self.spool[ask.epoch, ask.index] = y.tobytes()
                return [Spooled(asked, hashlib.sha256(y.tobytes()).hexdigest())]
            case Warn(says) | Retire(says):
                self.warned.append(says)
        return []


class HubShell:
    def __init__(self, terms, layout):
        self.terms, self.layout, self.now = terms, layout, 0.0
        self.disk, self.spool, self.orders, self.sums, self.kill_after = {}, {}, [], [], None
        self.unwritten = []  # may wait, and is lost in a restart
        self.machine = Coordinator(terms)

    rows = property(lambda self: written(self.disk, self.unwritten))

    def restart(self):
        self.unwritten, self.kill_after = [], None
        self.machine, orders = secagg_coordinator.restore(self.terms, dict(self.disk), now=self.now)
        self.carry_out(orders)
        if self.machine.stand.phase == "upload":  # the vectors are on the disk
            place = self.machine.stand.epoch, self.machine.round["index"]
            for *at, site in [key for key in self.spool if key[:2] == place]:
                self.tell(From(site, Upload(*at, hashlib.sha256(self.spool[*at, site]).hexdigest())))

    def tell(self, event):
        machine, orders = secagg_coordinator.step(self.machine, event, now=self.now)
        self.machine = machine
        self.carry_out(orders)
        return orders

    def carry_out(self, orders):
        for order in orders:
            if self.kill_after is not None:
                self.kill_after -= 1
                if self.kill_after < 0:
                    self.kill_after = None
                    raise Killed
            self.orders.append(order)
            match order:
                case Persist(_, _, False):
                    self.unwritten.append(order)
                case Persist():
                    self.disk, self.unwritten = written(self.disk, [*self.unwritten, order]), []
                case Unmask(survivors, found):
                    epoch, index = self.machine.stand.epoch, self.machine.round["index"]
                    total = np.frombuffer(bytearray(fold_bytes(self.layout, [self.spool[epoch, index, s] for s in survivors])), np.uint8)
                    masks.apply(total, self.layout, found)
                    self.sums.append(((epoch, index), survivors, total.tobytes()))
                    self.tell(Opened())

    def owed(self, site):
        return owed(self.machine, site, self.disk.__getitem__)

    def found(self, kind):
        return [order for order in self.orders if isinstance(order, kind)]


class Federation:
    """n sites and a coordinator. `poll` is one exchange of one site; `settle` polls until nobody is owed anything."""

    def __init__(self, n, names=None, seed=b"", make_layout=layout, **choices):
        self.names = names or [f"site{k:03}" for k in range(n)]
        pins = {name: identity.key(hashlib.sha256(b"key" + name.encode()).digest()).public for name in self.names}
        self.terms = secagg.settle(STUDY, pins, **{"waived": True, "rounds": 4, **choices})
        self.layout = make_layout(n)
        self.sites = {name: SiteShell(self.terms, name, k % 48, self.layout, seed) for k, name in enumerate(self.names)}
        self.hub = HubShell(self.terms, self.layout)
        self.deaf = set()

    def poll(self, name):
        """Ask, answer, hand in: whether anything was said."""
        message = self.hub.owed(name)
        if message is None or name in self.deaf:
            return False
        site = self.sites[name]
        try:
            said = site.tell(message_of(document(message)))
        except CollegiumError as e:
            self.hub.tell(Refused(name, str(e)))
            return True
        for reply in said:
            self.hand_in(name, reply)
        return True

    def hand_in(self, name, reply):
        if hasattr(reply, "digest"):
            self.hub.spool.setdefault((reply.epoch, reply.index, name), self.sites[name].spool[reply.epoch, reply.index])
        self.hub.tell(From(name, reply))

    def settle(self, names=None, limit=1000):
        while sum(self.poll(name) for name in names or self.names):
            limit -= 1
            assert limit, "the sites and the coordinator talk for ever"

    def prepare(self, **event):
        self.hub.tell(Open(**event))
        self.settle()
        return self

    def late(self):
        self.hub.now = self.hub.machine.deadline
        self.hub.tell(secagg_coordinator.Tick())
        self.settle()

    def start(self, task="aa" * 32, work=None, roster=()):
        """Open a round; sites find the task to be this work."""
        for site in self.sites.values():
            site.works[task] = work or hashlib.sha256(task.encode()).hexdigest()
        return self.hub.tell(Start(task, tuple(roster)))

    def round(self, task="aa" * 32, work=None, roster=(), uploads=None, survivors=None, root="root"):
        """One round; `uploads` are the sites that answer, `survivors` those summed. The decoded sum, or None."""
        before = len(self.hub.sums)
        self.start(task, work, roster)
        self.settle(uploads)
        self.hub.tell(Close(tuple(survivors or self.hub.machine.who("upload")), root))
        self.settle()
        return self.total(*self.hub.sums[-1]) if len(self.hub.sums) > before else None

    def total(self, index, survivors, data):
        tree, clipped, sites = ring.decode(lambda at, size: data[at : at + size], self.layout)
        assert (clipped, sites) == (0, len(survivors))
        assert int(tree["n"][0]) == sum(1 << self.sites[name].number for name in survivors)
        np.testing.assert_allclose(tree["w"], np.sum([self.sites[name].update["w"] for name in survivors], axis=0))
        return tree

    def plain(self, survivors):
        return fold_bytes(self.layout, [self.sites[name].vector.tobytes() for name in survivors])

    def fold(self, names, index=0):
        """The sum of masked vectors, masks and all."""
        return fold_bytes(self.layout, [self.sites[name].spool[self.hub.machine.stand.epoch, index] for name in names])

    def stretch(self, entries):
        """Vectors long enough for statistics on their bytes."""
        self.layout = self.hub.layout = ring.Layout((*self.layout.leaves[:1], ring.Leaf("w", "float32", (entries,), -8)), self.layout.sites)
        for site in self.sites.values():
            site.layout, site.update = self.layout, {**site.update, "w": np.full(entries, 0.5, np.float32)}

    def statement(self, survivors, *, study=STUDY, epoch=1, index=0, task="aa" * 32):
        """What an honest site signs of a round over all sites."""
        transcript = self.hub.machine.stand.transcript
        return secagg.statement(
            self.terms._replace(study=study),
            epoch,
            index,
            transcript=transcript,
            task=task,
            roster=self.names,
            survivors=survivors,
            root="root",
        )
