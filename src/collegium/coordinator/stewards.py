"""Which hospitals wait for their own data steward: for the people who watch a run, and for nothing else.

A site tells it with its call for work. Nothing here decides whether a site takes part: it alone knows what its steward signed.
"""

from collections.abc import Collection

from collegium.coordinator import records
from collegium.coordinator.runs import Runs


async def note(runs: Runs, site: str, held: Collection[str]) -> None:
    """Mark the runs that this site holds for its steward, and those that it no longer does; tell what is new."""
    events = []
    for live in runs.live.values():
        if site in live.active and live.id in held and site not in live.stewards:
            live.stewards.add(site)
            says = f"{site} waits for its data steward, who has not decided on this study"
            events.append(runs.means.event(live, "steward", says, site))
        elif live.id not in held:
            live.stewards.discard(site)
    if events:
        await runs.means.store.commit(lambda c: records.tell_all(c, events))
    for event in events:
        if event.run in runs.live:
            runs.live[event.run].news.send()
