"""Hospitals that take part in secure sums over an ASGI transport, as the agent does: with real vaults and the real machine."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collegium.coordinator.blobs import SMALL
from collegium.engine.messages import Answer, task_of
from collegium.errors import CollegiumError
from collegium.privacy import masks
from collegium.site.secure import Sums, kept, refusal
from collegium.site.secure import keep as keep_small
from collegium.site.vault import Vault
from tests.coordinator.world import Refused, Site, World, study_of, vector_digest_of

WANTS = {"secure_aggregation": "auto", "because": "", "curious": False, "epoch": 16}


class Hospital(Site):
    """A site whose vectors are masked. `obeys(message)` may say no: it then refuses what it is told; kinds of it are in `refuses`."""

    wait_s = 2  # how long a call for work waits
    refuses: Collection[str] = ()
    checks = 0  # sums that it has checked

    def open(self, folder: Path, manifest: dict[str, Any], study: str, pins: dict[str, str]) -> None:
        """Begin to take part in a study."""
        self.folder, self.plain, self.said = folder, list[bytes](), list[str]()
        vault = Vault(folder / "secure" / f"{study}.db")
        self.sums = Sums(vault, manifest, study, self.name, self.key, pins, self.said.append)

    def close(self) -> None:
        self.sums.close()

    def obeys(self, said: dict[str, Any]) -> bool:
        return said.get("kind") not in self.refuses

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
        """The masked answer to a task, kept as an agent or its worker keeps it."""
        task, large = found["task"], task_of(found["task"]).layout.nbytes > SMALL
        if "secure" not in found:  # a study without masks
            answer, vector = await self.update(task, frame)
            self.plain.append(vector)
            return answer, vector
        order, laid = self.sums.masks(found["secure"], task)
        if isinstance(laid, str):
            told, before = kept(self.folder, laid, task["layout"])
            vector = await asyncio.to_thread(Path(told["spool"]).read_bytes) if large else bytes(before)
        else:
            self.tag = (self.sums.tag(order.ask.epoch, order.ask.index), self.name)
            _, plain = await self.update(task, frame)
            self.plain.append(plain)
            words = np.frombuffer(bytearray(plain), np.uint8)
            masks.apply(words, task_of(task).layout, laid)
            vector = words.tobytes()
            keep_small(self.folder, vector)
            if large:
                (self.folder / "spool" / "masked").rename(self.folder / "spool" / "vector")
            self.sums.burn(order, vector_digest_of(vector), task)
        return Answer(found["task"]["run"], task_of(task).place, vector_digest_of(vector), len(vector)), vector

    async def step(self, run: str, reply: tuple[dict[str, Any], Any]) -> tuple[dict[str, Any], Any]:
        """Answer what came, and what comes next."""
        found, frame = reply
        said = found.get("secure")
        try:
            await self.checked(run, found)
            if found["task"] is None and said:
                return await self.work(run, secure=self.heard(said), wait_s=self.wait_s)
            if found["task"] is None:
                return await self.work(run, wait_s=self.wait_s)
            if not self.obeys(said or {}):
                return await self.work(run, secure=[{"kind": "refuse", "says": "it will not"}], wait_s=self.wait_s)
            answer, vector = await self.masked(found, frame)
            if len(vector) > SMALL:
                await self.upload(answer, vector)
            return await self.work(run, answer, vector if len(vector) <= SMALL else b"", wait_s=self.wait_s)
        except CollegiumError as e:
            return await self.work(run, secure=[refusal(e)], wait_s=self.wait_s)
        except Refused as refused:
            if refused.code != "conflict":
                raise
            return await self.work(run, wait_s=self.wait_s)

    async def serve(self, run: str) -> dict[str, Any]:
        reply = await self.work(run, wait_s=self.wait_s)
        while reply[0]["status"] == "running":
            reply = await self.step(run, reply)
        self.last = reply[0]
        await self.checked(run, self.last)
        return self.last

    async def checked(self, run: str, found: dict[str, Any]) -> None:
        """Check the sum that it was in, as an agent does, where the study wants that."""
        shown, files = found.get("sums", []), dict[str, Path]()
        for each in shown:
            if self.sums.last and [each["epoch"], each["index"]] == self.sums.last["ask"]:
                files[each["sum"]] = self.folder / "sum"
                frame = await self.send(self.signed("GET", f"/v1/blobs/{each['sum']}"), plain=True)
                files[each["sum"]].write_bytes(frame)
                self.checks += 1
        place = (found["task"] or {}).get("place", ())
        self.sums.check(run, shown, place, found["status"] == "finished", lambda each: files[each["sum"]])


class Masked(World):
    """A coordinator whose studies are summed under masks."""

    async def hospitals(self, *names: str, kind: type[Hospital] = Hospital) -> list[Hospital]:
        """Invited and joined ones."""
        return [self.turned(site, kind) for site in await self.join(*names)]

    def moved(self, hospitals: Iterable[Hospital]) -> list[Hospital]:
        """The same hospitals before this coordinator, which was started again."""
        there = []
        for each in hospitals:
            made = type(each)(self.app, each.name)
            made.sums, made.folder, made.plain, made.said = each.sums, each.folder, each.plain, each.said
            there.append(made)
        return there

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


@contextlib.asynccontextmanager
async def begun(folder: Path, hospitals: Mapping[str, type[Hospital]], **how: Any) -> AsyncIterator[tuple[Masked, list[Hospital], str]]:
    """A run over these hospitals at a coordinator in a folder, both let go of at the end."""
    world = Masked(folder / "hub", **how)
    there = list[Hospital]()
    try:
        async with world.app.running():
            for name, kind in hospitals.items():
                there += await world.hospitals(name, kind=kind)
            yield world, there, await world.begin(*there)
    finally:
        let_go(there)


def honest(names: Iterable[str]) -> dict[str, type[Hospital]]:
    """Hospitals that do as they should."""
    return dict.fromkeys(names, Hospital)


async def stepped(run: str, hospitals: Iterable[Hospital], until: Callable[[], bool]) -> None:
    """One exchange of one hospital after another, until it is so: right after, if a message brought it about."""
    hospitals, replies = list(hospitals), dict[str, Any]()
    for each in hospitals:
        each.wait_s = 0
    try:
        for each in itertools.cycle(hospitals):
            if until():
                break
            reply = replies.get(each.name)
            replies[each.name] = await (each.step(run, reply) if reply else each.work(run, wait_s=0))
            await asyncio.sleep(0)
    finally:
        for each in hospitals:
            each.wait_s = Hospital.wait_s


def let_go(hospitals: Iterable[Hospital]) -> None:
    """Close their vaults."""
    for each in hospitals:
        each.close()


def bytes_of(folder: Path) -> bytes:
    """Everything that a coordinator has on its disk."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
