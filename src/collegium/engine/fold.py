"""The sum of a round, a block at a time: memory for one accumulator or less, however many sites there are."""

from collections.abc import Callable, Iterable

import numpy as np

from collegium.privacy import ring
from collegium.privacy.ring import Layout

STEP = 1 << 20  # bytes added at a time: small enough to stay in the cache
Read = Callable[[int, int], bytes]  # (offset, bytes) of one site's vector


def fold(layout: Layout, updates: Iterable[Read], write: Callable[[int, memoryview], object]) -> None:
    """Add the vectors of all `updates`, in blocks, and hand each block of the total to `write(offset, bytes)`.

    Block by block over the sites, so nothing but one block of the total is ever in memory; integers make the result the
    same in any order.
    """
    readers = list(updates)
    total = np.empty(min(STEP, layout.nbytes), np.uint8)
    for start in range(0, layout.nbytes, STEP):
        part = total[: min(STEP, layout.nbytes - start)]
        part[:] = 0
        for read in readers:
            ring.add(part, np.frombuffer(read(start, len(part)), np.uint8), start, layout)
        write(start, part.data)


def fold_bytes(layout: Layout, updates: Iterable[bytes]) -> bytes:
    """The same for vectors that are in memory."""
    total = np.zeros(layout.nbytes, np.uint8)
    for update in updates:
        ring.add(total, np.frombuffer(update, np.uint8), 0, layout)
    return total.tobytes()
