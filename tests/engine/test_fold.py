"""Sums of any size in bounded memory."""

import numpy as np

from collegium.engine import fold, task
from collegium.privacy import ring


def test_a_sum_by_blocks_is_the_sum_in_memory():
    updates = [{"n": np.arange(5) * k, "w": np.linspace(-k, k, 700_001, dtype=np.float32)} for k in (1, 2, 3)]
    layout = ring.plain(updates[0], 3)
    layout = ring.settle(layout, sum(ring.ranges(u, layout)["ranges"] for u in updates))
    vectors = [bytes(task.frame(ring.encode(u, layout), layout.nbytes)) for u in updates]
    out, sizes = bytearray(layout.nbytes), []

    def write(at, block):
        out[at : at + len(block)] = block
        sizes.append(len(block))

    fold.fold(layout, [lambda at, size, v=v: v[at : at + size] for v in vectors], write)
    assert bytes(out) == fold.fold_bytes(layout, vectors)
    assert max(sizes) == fold.STEP
    total, clipped, sites = ring.decode(lambda at, size: out[at : at + size], layout)
    assert (clipped, sites, total["n"].tolist()) == (0, 3, [0, 6, 12, 18, 24])
    np.testing.assert_allclose(np.asarray(total["w"]), 6 * np.linspace(-1, 1, 700_001), atol=1e-6)
