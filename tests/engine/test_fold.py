"""Sums of any size in bounded memory."""

import numpy as np

from collegium.engine import fold, task
from collegium.privacy import ring


def test_a_sum_by_pieces_is_the_sum_in_memory():
    updates = [{"n": np.arange(5) * k, "w": np.linspace(-k, k, 700_001, dtype=np.float32)} for k in (1, 2, 3)]
    layout = ring.plain(updates[0], 3)
    layout = ring.settle(layout, sum(ring.ranges(u, layout)["ranges"] for u in updates))
    vectors = [bytes(task.frame(ring.encode(u, layout), layout.nbytes)) for u in updates]
    asked = []

    def reader(vector):
        def read(at, size):
            asked.append(size)
            return vector[at : at + size]

        return read

    whole, read = fold.fold_bytes(layout, vectors), fold.folded(layout, [reader(v) for v in vectors])
    assert b"".join(read(at, min(1000, layout.nbytes - at)) for at in range(0, layout.nbytes, 1000)) == whole
    assert max(asked) <= 1008
    assert [read(4, 0), read(44, 3)] == [b"", whole[44:47]]
    total, clipped, sites = ring.decode(read, layout)
    assert (clipped, sites, total["n"].tolist()) == (0, 3, [0, 6, 12, 18, 24])
    np.testing.assert_allclose(np.asarray(total["w"]), 6 * np.linspace(-1, 1, 700_001), atol=1e-6)
