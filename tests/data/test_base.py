"""A part of a batch: asked for by its rows, or cut out of the whole."""

import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.data.arrays import from_arrays
from recycle_jax.data.base import rows_of


class Whole:
    """A source that knows nothing of parts."""

    def __init__(self, inner):
        self.inner, self.asked = inner, []

    def batch(self, step, rows, frames):
        self.asked.append(rows)
        made = self.inner.batch(step, rows, frames)
        return Batch(clip=made.clip, domain=made.domain, condition={"number": jnp.arange(rows)})


@pytest.mark.parametrize("wanted", [range(8), range(2, 6), range(6, 8)])
def test_a_part_is_what_the_whole_holds_there(wanted):
    clips = np.random.default_rng(0).uniform(-1.0, 1.0, (3, 12, 2, 2, 1)).astype(np.float32)
    source = from_arrays(list(clips), seed=1)
    whole, plain = source.batch(4, 8, 3), Whole(source)
    np.testing.assert_array_equal(
        rows_of(source, 4, 8, 3, wanted).clip, whole.clip[wanted.start : wanted.stop], strict=True
    )
    cut = rows_of(plain, 4, 8, 3, wanted)
    np.testing.assert_array_equal(cut.clip, whole.clip[wanted.start : wanted.stop], strict=True)
    assert plain.asked == [8] and cut.condition["number"].tolist() == list(wanted)
