"""The sum of a round: memory for one block of it, however many sites there are."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from collegium.privacy import ring
from collegium.privacy.masks import STEP, Mask, Streams
from collegium.privacy.ring import Layout

Read = Callable[[int, int], bytes]  # (offset, bytes) of one site's vector


def folded(layout: Layout, updates: Sequence[Read], masks: Sequence[Mask] = ()) -> Callable[[int, int], bytes]:
    """The sum of vectors that are not in memory, as `read(offset, bytes)`: each piece is added up when it is asked for.

    So a sum is never whole anywhere, in memory or on a disk; integers make it the same in any order and in any pieces. `masks`
    are those that are left on the sum, with the sign that takes them off.
    """
    streams = Streams(masks)

    def read(at: int, count: int) -> bytes:
        start, stop = at - at % STEP, at + count + -(at + count) % 8  # masks are entered at whole blocks, `ring.add` wants whole words
        total = np.zeros(stop - start if count else 0, np.uint8)
        for update in updates if count else ():
            ring.add(total, np.frombuffer(update(start, stop - start), np.uint8), start, layout)
        if masks and count:
            streams.apply(total, start, layout)
        return total[at - start : at - start + count].tobytes()

    return read


def fold_bytes(layout: Layout, updates: Iterable[bytes], masks: Sequence[Mask] = ()) -> bytes:
    """The whole sum of vectors that are in memory, its masks taken off."""
    total = np.zeros(layout.nbytes, np.uint8)
    for update in updates:
        ring.add(total, np.frombuffer(update, np.uint8), 0, layout)
    if masks:
        Streams(masks).apply(total, 0, layout)
    return total.tobytes()
