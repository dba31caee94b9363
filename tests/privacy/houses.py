"""Secure sums over real vaults: sites that carry out what `site.secure` orders, against the coordinator's machine of `epochs`."""

import hashlib
import json

import numpy as np

from collegium import identity
from collegium.engine import task as tasks
from collegium.engine.fold import fold_bytes
from collegium.errors import CollegiumError
from collegium.identity import digest
from collegium.privacy import masks, ring, secagg
from collegium.privacy.secagg_messages import Ask, Upload, document, message_of
from collegium.privacy.secagg_stand import Close, From, Open, Refused, Start
from collegium.site.secure import Sums, keep, kept, refusal
from collegium.site.vault import Vault
from tests.privacy.epochs import STUDY, HubShell, layout, update

NAMES = ["leeds", "milan", "porto", "turku"]


def key_of(name):
    return identity.key(hashlib.sha256(name.encode()).digest())


def manifest(minimum=3, chosen="auto", because=""):
    return {
        "sites": {"minimum": minimum},
        "privacy": {"secure_aggregation": chosen, "because": because, "curious": False, "epoch": 4},
    }


class House:
    """A site: its folder, its key, and its part in the sums, which a restart makes anew from the vault."""

    def __init__(self, folder, name, number, pins):
        self.folder, self.name, self.update, self.pins = folder / name, name, update(number), pins
        self.key, self.warned, self.masked = key_of(name), [], []
        self.path = self.folder / "secure" / "study.db"
        self.open()

    def open(self):
        self.sums = Sums(Vault(self.path), manifest(), STUDY, self.name, self.key, self.pins, self.warned.append)

    def restart(self):
        self.sums.close()
        self.open()

    def plain(self, layout):
        return bytes(tasks.frame(ring.encode(self.update, layout), layout.nbytes))

    def answer(self, said, task):
        """What an agent does with a round's task; the vector that it sends."""
        asked, found = self.sums.masks(said, task)
        if isinstance(found, str):
            return kept(self.folder, found, task["layout"])
        y = np.frombuffer(bytearray(self.plain(ring.layout_of(task["layout"]))), np.uint8)
        masks.apply(y, ring.layout_of(task["layout"]), found)
        keep(self.folder, y.tobytes())
        self.masked.append((asked.ask.epoch, asked.ask.index, digest(y.tobytes())))
        self.sums.burn(asked, digest(y.tobytes()), task)
        return {"digest": digest(y.tobytes()), "nbytes": len(y)}, y.tobytes()


class Study:
    """Sites and a coordinator; `poll` is one exchange of one site. Where `again`, a site is restarted and asked everything twice."""

    def __init__(self, folder, names=NAMES, *, again=False):
        self.again = again
        self.pins = {name: key_of(name).public for name in names}
        self.houses = {name: House(folder, name, k, self.pins) for k, name in enumerate(names)}
        self.hub = HubShell(secagg.agreed(manifest(), STUDY, self.pins), layout(len(names)))
        self.task = {}

    def close(self):
        for house in self.houses.values():
            house.sums.close()

    def told(self, name):
        """What a site is owed, as it comes over the wire."""
        message = self.hub.owed(name)
        seen = {"seen": list(self.hub.machine.seen(name))} if isinstance(message, Ask) else {}
        return message and json.loads(json.dumps(document(message) | seen))

    def poll(self, name):
        said, house = self.told(name), self.houses[name]
        if said is None:
            return False
        try:
            answers = [self.reply(house, said) for _ in range(1 + self.again)]
        except CollegiumError as e:
            self.hub.tell(Refused(name, refusal(e)["says"]))
            return True
        assert all(answer == answers[0] for answer in answers)
        if said["kind"] == "ask":
            told, vector = answers[0]
            self.hub.spool[said["epoch"], said["index"], name] = vector
            self.hub.tell(From(name, Upload(said["epoch"], said["index"], told["digest"])))
            return True
        for reply in answers[0]:
            self.hub.tell(From(name, message_of(reply)))
        return True

    def reply(self, house, said):
        if self.again:
            house.restart()
        return house.answer(said, self.task) if said["kind"] == "ask" else house.sums.hear(said)

    def settle(self, names=None):
        while sum(self.poll(name) for name in names or self.houses):
            pass

    def prepare(self):
        self.hub.tell(Open())
        self.settle()
        return self

    def among(self, names, number):
        """An epoch of this number among some of the sites."""
        pins = {name: self.pins[name] for name in names}
        self.hub = HubShell(secagg.agreed(manifest(), STUDY, pins), layout(len(names)))
        self.hub.tell(Open(number=number))
        self.settle(names)
        return self

    def start(self, number=1, state="ab" * 32, roster=()):
        self.task = {"run": "r1", "place": [0, number, 1, "sum"], "layout": self.hub.layout.document(), "state": state}
        self.hub.tell(Start(secagg.digests(study=STUDY, **self.task)[0], tuple(roster)))

    def round(self, number=1, state="ab" * 32, names=None):
        """One round in which these answer: whether the sum is the plain one."""
        before = len(self.hub.sums)
        self.start(number, state)
        self.settle(names)
        self.hub.tell(Close(tuple(self.hub.machine.who("upload")), "root"))
        self.settle()
        if len(self.hub.sums) == before:
            return None
        _, survivors, total = self.hub.sums[-1]
        return survivors, total == self.plain(survivors)

    def plain(self, names):
        """The sum that it should be."""
        return fold_bytes(self.hub.layout, [self.houses[name].plain(self.hub.layout) for name in names])
