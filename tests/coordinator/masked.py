"""Hospitals that take part in secure sums over an ASGI transport, as the agent does: with real vaults and the real machine."""

from pathlib import Path
from typing import Any

import numpy as np

from collegium import wire
from collegium.engine import task as tasks
from collegium.engine.messages import Answer, task_of
from collegium.errors import CollegiumError
from collegium.privacy import masks
from collegium.site.secure import Sums, kept, refusal
from collegium.site.secure import keep as keep_small
from collegium.site.vault import Vault
from tests.coordinator.world import Refused, Site, World, counting, drift, study_of, vector_digest_of

WANTS = {"secure_aggregation": "auto", "because": "", "curious": False, "epoch": 16}


class Hospital(Site):
    """A site whose vectors are masked. `obeys(message)` may say no: it then refuses what it is told."""

    def open(self, folder: Path, manifest: dict[str, Any], study: str, pins: dict[str, str]) -> None:
        """Begin to take part in a study."""
        self.folder, self.plain, self.said = folder, list[bytes](), list[str]()
        vault = Vault(folder / "secure" / f"{study}.db")
        self.sums = Sums(vault, manifest, study, self.name, self.key, pins, self.said.append)

    def close(self) -> None:
        self.sums.close()

    def obeys(self, said: dict[str, Any]) -> bool:
        return True

    def spoilt(self, said: dict[str, Any]) -> dict[str, Any]:
        """A message on its way out."""
        return said

    def heard(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """What it answers to a message of the secure sum."""
        if not self.obeys(said):
            return [{"kind": "refuse", "says": "it will not"}]
        try:
            return [self.spoilt(each) for each in self.sums.hear(said)]
        except CollegiumError as e:
            return [refusal(e)]

    async def masked(self, found: dict[str, Any], frame: Any) -> tuple[Answer, bytes]:
        """The masked answer to a task."""
        asked = task_of(found["task"])
        order, laid = self.sums.masks(found["secure"], found["task"])
        if isinstance(laid, str):
            told, vector = kept(self.folder, laid, found["task"]["layout"])
            return Answer(asked.run, asked.place, told["digest"], told["nbytes"]), bytes(vector)
        shared = wire.decode(bytes(frame))
        algorithm = drift(shared["w"].size, shared["w"].dtype) if "w" in shared else counting()
        change, _ = tasks.update(algorithm, shared, self.table, {})
        plain = bytes(tasks.frame(tasks.vector(change, asked.layout, asked.place.phase), asked.layout.nbytes))
        self.plain.append(plain)
        vector = np.frombuffer(bytearray(plain), np.uint8)
        masks.apply(vector, asked.layout, laid)
        keep_small(self.folder, vector.tobytes())
        self.sums.burn(order, vector_digest_of(vector.tobytes()))
        return Answer(asked.run, asked.place, vector_digest_of(vector.tobytes()), vector.nbytes), vector.tobytes()

    async def step(self, run: str, reply: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
        """Answer what came, and what comes next."""
        found, frame = reply
        said = found.get("secure")
        try:
            if found["task"] is None and said:
                return await self.work(run, secure=self.heard(said), wait_s=2)
            if found["task"] is None:
                return await self.work(run, wait_s=2)
            if not self.obeys(said or {}):
                return await self.work(run, secure=[{"kind": "refuse", "says": "it will not"}], wait_s=2)
            answer, vector = await self.masked(found, frame)
            return await self.work(run, answer, vector, wait_s=2)
        except CollegiumError as e:
            return await self.work(run, secure=[refusal(e)], wait_s=2)
        except Refused as refused:
            if refused.code != "conflict":
                raise
            return await self.work(run, wait_s=2)

    async def serve(self, run: str) -> dict[str, Any]:
        reply = await self.work(run, wait_s=2)
        while reply[0]["status"] == "running":
            reply = await self.step(run, reply)
        self.last = reply[0]
        return self.last


class Masked(World):
    """A coordinator whose studies are summed under masks."""

    async def hospitals(self, *names: str, kind: type[Hospital] = Hospital) -> list[Hospital]:
        """Invited and joined ones."""
        return [self.turned(site, kind) for site in await self.join(*names)]

    def turned(self, site: Site, kind: type[Hospital]) -> Hospital:
        made = kind(self.app, site.name)
        made.app, made.client = self.app, site.client
        return made

    async def begin(self, *hospitals: Hospital, privacy: dict[str, Any] | None = None, **changes: Any) -> str:
        """A run over these hospitals, each of which stands ready."""
        manifest = study_of(**{"minimum": 3} | changes) | {"privacy": WANTS | (privacy or {})}
        study = (await self.operator.call("POST", "/v1/studies", {"manifest": manifest}))["study"]
        await self.enlist(study, *hospitals)
        pins = {each.name: each.key.public for each in hospitals}
        for each in hospitals:
            each.open(self.folder.parent / each.name, manifest, study, pins)
        self.study = study
        return await self.again(*hospitals)

    async def again(self, *hospitals: Hospital) -> str:
        """Another run of the same study."""
        asked = {"sites": [each.name for each in hospitals]}
        return str((await self.operator.call("POST", f"/v1/studies/{self.study}/start", asked))["run"])

    async def told(self, run: str) -> list[str]:
        """The run's events, in words."""
        found = await self.operator.call("GET", f"/v1/runs/{run}/events")
        return [f"{event['kind']}: {event['says']}" for event in found["events"]]


def bytes_of(folder: Path) -> bytes:
    """Everything that a coordinator has on its disk."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
