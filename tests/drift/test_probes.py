"""Foreign errors that grow, last or die out, and draws that agree or not."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.drift.probes import FOREIGN, diversity, response, response_between, rolled_over, white
from recycle_jax.generators.base import slide
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network


def times(factor: float) -> Predictor:
    """The newest frame, times a factor."""
    apply = lambda params, context, level, condition: params * context[:, -1:]  # noqa: E731
    return Predictor(network=Network(init=lambda key: jnp.float32(factor), apply=apply), context_frames=2)


@dataclasses.dataclass(frozen=True)
class Wanders:
    """The newest frame and a draw of `strength`."""

    strength: float
    context_frames: int = 1
    chunk_frames: int = 1

    def begin(self, params: Any, context: Any, condition: Any) -> Any:
        return context

    def step(self, params: Any, carry: Any, keys: Any, condition: Any) -> tuple[Any, Any]:
        moved = jax.vmap(lambda key: jax.random.normal(key, carry.shape[2:]))(keys)[:, None]
        chunk = carry[:, -1:] + self.strength * moved
        return slide(carry, chunk), chunk


def starts(rows: int = 16) -> Any:
    return jax.random.uniform(jax.random.key(1), (rows, 3, 4, 4, 3), minval=-0.5, maxval=0.5)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize(("factor", "at_four"), [(0.5, 0.5**8), (1.0, 1.0), (1.2, 1.2**8)])
def test_a_response_is_what_is_left_of_the_error(kind, factor, at_four):
    """The newest frame's error is that of the whole context on average."""
    seen = response(times(factor), jnp.float32(factor), starts(), FOREIGN[kind], jax.random.key(0), (1, 4))
    np.testing.assert_allclose(seen, [factor**2, at_four], rtol=0.15)


def test_a_generator_without_memory_forgets_at_once():
    seen = response(times(0.0), jnp.float32(0.0), starts(), white, jax.random.key(0), (1,))
    assert float(seen[0]) == 0.0


def test_diversity_is_the_share_of_the_draws():
    quiet = diversity(times(1.0), jnp.float32(1.0), starts(), jax.random.key(0), frame=4)
    little = diversity(Wanders(strength=0.02), None, starts(), jax.random.key(0), frame=4)
    much = diversity(Wanders(strength=5.0), None, starts(), jax.random.key(0), frame=4)
    assert float(quiet) == pytest.approx(0.0, abs=1e-9) and 0.0 < float(little) < 0.1
    assert float(much) == pytest.approx(1.0, abs=0.2)


def test_a_response_to_an_error_at_hand_is_the_response_to_one_that_is_made():
    of_error, of_rollout = jax.random.split(jax.random.key(0))
    seen = starts()[:, -2:]
    args = times(0.7), jnp.float32(0.7)
    at_hand = response_between(*args, seen, white(seen, of_error), of_rollout, (1, 4))
    np.testing.assert_array_equal(at_hand, response(*args, starts(), white, jax.random.key(0), (1, 4)))


def test_another_model_makes_the_last_frames_and_leaves_the_first():
    clip = jax.random.uniform(jax.random.key(1), (2, 6, 4, 4, 3))
    made = rolled_over(times(0.5), jnp.float32(0.5), clip, 3, jax.random.key(0))
    np.testing.assert_array_equal(made[:, :3], clip[:, :3])
    np.testing.assert_allclose(made[:, 3:], clip[:, 2:3] * jnp.array([0.5, 0.25, 0.125])[None, :, None, None, None])


def test_another_model_needs_real_frames_before_its_own():
    with pytest.raises(ValueError, match=r"clips of 6 frames are shorter than .* 2 \+ 5 = 7"):
        rolled_over(times(0.5), jnp.float32(0.5), jnp.zeros((2, 6, 4, 4, 3)), 5, jax.random.key(0))
