"""Anchors stay, whatever the generator and however long the rollout; all else is the inner generator's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator, anchors_of, clean_example
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, data_head
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout

ROWS, FRAME = 2, (2, 2, 1)
KEYS = jax.random.split(jax.random.key(0), ROWS)


def predictor(chunk_frames=1):
    """The newest frame plus the oldest, so that an anchor of value `a` makes it count by `a`."""

    def apply(params, context, level, condition):
        ahead = jnp.arange(1, chunk_frames + 1, dtype=jnp.float32)[None, :, None, None, None]
        return context[:, -1:] + ahead * context[:, :1]

    return Predictor(network=Network(init=lambda key: {}, apply=apply), context_frames=4, chunk_frames=chunk_frames)


def flow():
    def apply(params, noisy, sigma, context, level, condition):
        return context[:, -1:] + context[:, :1]

    return RectifiedFlow(network=Network(init=lambda key: {}, apply=apply), context_frames=4, head=data_head)


def counting():
    return jnp.broadcast_to(jnp.arange(1.0, 5.0)[None, :, None, None, None], (ROWS, 4, *FRAME))


@pytest.mark.parametrize("inner", [predictor(), predictor(2), flow()], ids=["predictor", "chunks", "flow"])
@pytest.mark.parametrize("anchors", [1, 2])
def test_anchors_stay_and_the_rest_slides(inner, anchors):
    generator = Anchored(inner=inner, anchors=anchors)
    assert isinstance(generator, Generator) and anchors_of(generator) == anchors and anchors_of(inner) == 0
    carry, seen = generator.begin({}, counting(), None), [counting()]
    for _ in range(5):
        carry, chunk = generator.step({}, carry, KEYS, None)
        seen.append(chunk)
        video = jnp.concatenate(seen, axis=1)
        np.testing.assert_array_equal(carry[:, :anchors], counting()[:, :anchors])
        np.testing.assert_array_equal(carry[:, anchors:], video[:, anchors - 4 :])


@pytest.mark.parametrize("inner", [predictor(), flow()], ids=["predictor", "flow"])
def test_a_rollout_sees_its_anchor_to_the_end(inner):
    """An anchor of 1 counts by one; without, the oldest frame grows and with it the steps."""
    kept = rollout(Anchored(inner=inner), {}, counting(), jax.random.key(1), 20)
    np.testing.assert_allclose(kept[0, :, 0, 0, 0], np.arange(5.0, 25.0), rtol=1e-5)
    free = rollout(inner, {}, counting(), jax.random.key(1), 20)
    assert free[0, -1, 0, 0, 0] > 100.0


def test_all_else_is_the_inner_generators():
    inner = flow()
    generator = Anchored(inner=inner)
    assert (generator.chunk_frames, generator.context_frames, generator.calls_per_step) == (1, 4, 4)
    clip = jax.random.normal(jax.random.key(2), (ROWS, 5, *FRAME))
    batch = Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32))
    own, inners = (clean_example(one, batch, KEYS) for one in (generator, inner))
    jax.tree.map(np.testing.assert_array_equal, own, inners)
    jax.tree.map(np.testing.assert_array_equal, generator.fit({}, own), inner.fit({}, own))
    np.testing.assert_array_equal(generator.to_error(clip, own.sigma), inner.to_error(clip, own.sigma))


@pytest.mark.parametrize("anchors", [0, 4])
def test_anchors_leave_room_for_recent_frames(anchors):
    with pytest.raises(ValueError, match=f"anchors is {anchors}, .* context of 4: use 1 to 3"):
        Anchored(inner=predictor(), anchors=anchors)
