"""What the coordinator's runs work with: the database, the files, the clocks, and who is told."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from collegium import tree as T
from collegium.coordinator.blobs import Blobs
from collegium.coordinator.live import Live, Reached
from collegium.coordinator.logbook import Logbook
from collegium.coordinator.records import Event
from collegium.coordinator.spool import Spool
from collegium.coordinator.store import Store
from collegium.engine.run import Stage
from collegium.study.manifest import Study

log = logging.getLogger("collegium.coordinator.runs")


class Plan(Protocol):
    """What a study computes: its stages, and as results what comes with it. Raises `StudyError` for what cannot be planned."""

    def __call__(self, study: Study, came: T.Tree | None = None) -> tuple[Sequence[Stage], Mapping[str, T.Tree]]: ...


@dataclass(frozen=True)
class Means:
    """Everything a run needs that is not a value; clocks come in as arguments, so that tests may turn them."""

    store: Store
    blobs: Blobs
    spool: Spool
    plan: Plan
    logbook: Logbook
    clock: Callable[[], float] = time.monotonic  # deadlines
    now: Callable[[], int] = lambda: int(time.time())  # what people read
    reached: Reached = lambda name, place: None  # asked, spooled, committed, folded, applied: tests end the process there
    tell: Callable[[Event], object] = lambda event: None

    def event(self, live: Live, kind: str, sentence: str, site: str = "", figures: Mapping[str, Any] | None = None) -> Event:
        """Something that happens now in a run; it is true once it is committed."""
        return Event(self.now(), live.id, site, kind, sentence, figures or {})

    def told(self, live: Live, *events: Event) -> None:
        """These events are committed: tell people, and let sites look again."""
        for event in events:
            log.info("run %s %s: %s", live.id, event.kind, event.says, extra={"run": live.id, "kind": event.kind})
            self.tell(event)
        live.news.send()
        live.changed()
