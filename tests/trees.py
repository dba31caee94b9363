"""Random trees for property tests."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

names = st.text("abcxyz0_.", min_size=1, max_size=5)
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
floats = st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False, allow_subnormal=False, width=32)


def leaves(dtypes=("float32", "float64", "int64")):
    return st.sampled_from(dtypes).flatmap(
        lambda kind: hnp.arrays(kind, shapes, elements=st.integers(-(2**20), 2**20) if kind == "int64" else floats)
    )


def trees(dtypes=("float32", "float64", "int64")):
    return st.recursive(
        st.dictionaries(names, leaves(dtypes), min_size=1, max_size=4),
        lambda inner: st.dictionaries(names, leaves(dtypes) | inner, min_size=1, max_size=3),
        max_leaves=6,
    )


class Disk:
    """A leaf that is not in memory, and remembers how much of it was ever asked for at once."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.most = values, values.shape, values.dtype, 0

    def block(self, start, stop):
        self.most = max(self.most, stop - start)
        return self.values.reshape(-1)[start:stop]


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b)
