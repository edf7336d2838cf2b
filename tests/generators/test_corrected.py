"""A corrected generator: the second network sees context and chunk, and what it makes is the history."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.base import Generator
from recycle_jax.generators.corrected import Corrected
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout

COUNTING = Predictor(
    network=Network(
        init=lambda key: {"step": jnp.float32(1.25)},
        apply=lambda params, context, level, condition: context[:, -1:] + params["step"],
    ),
    context_frames=2,
)
"""Counts a quarter too fast; the corrector knows the step from the two frames before the chunk."""
CORRECTOR = Network(
    init=lambda key: {"pull": jnp.float32(1.0)},
    apply=lambda params, window, level, condition: (
        window[:, -1:] + params["pull"] * (2.0 * window[:, -2:-1] - window[:, -3:-2] - window[:, -1:])
    ),
)


def test_every_chunk_is_corrected_before_it_becomes_history():
    generator = Corrected(inner=COUNTING, corrector=CORRECTOR)
    params = generator.init(jax.random.key(0))
    start = jnp.broadcast_to(jnp.arange(2.0)[None, :, None, None, None], (3, 2, 2, 2, 1))
    made = rollout(generator, params, start, jax.random.key(1), 4)
    np.testing.assert_allclose(np.asarray(made)[:, :, 0, 0, 0], np.broadcast_to([2.0, 3.0, 4.0, 5.0], (3, 4)))
    left = rollout(generator, {**params, "corrector": {"pull": jnp.float32(0.0)}}, start, jax.random.key(1), 4)
    np.testing.assert_allclose(left, rollout(COUNTING, params["inner"], start, jax.random.key(1), 4))
    assert isinstance(generator, Generator) and generator.calls_per_step == 2
    with pytest.raises(ValueError, match="put Anchored around Corrected"):
        Corrected(inner=Anchored(inner=COUNTING), corrector=CORRECTOR)
