"""The deterministic generator: the next chunk in one call.

The one-step case of the flow conventions: no noise, ``sigma = 1`` everywhere, residual ``r = x_hat - x`` and
error ``E = +r``.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from recycle_jax.generators.base import Example, Fit, Levels, mean_square, require_same_shape, slide
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Sigma


def squared_error(residual: Frames) -> Array:
    """`[b, t, h, w, c]` to `[b]`: mean squared residual."""
    return mean_square(residual)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictor:
    """A deterministic next-chunk predictor.

    Attributes:
        network: `apply(params, context, level, condition) -> [b, chunk_frames, h, w, c]`, with `level` `[b]`
            the noise that the context was given (0 at generation time).
        context_frames: frames of history.
        chunk_frames: frames a call produces.
        penalty: per-sample loss of a residual.
    """

    network: Network
    context_frames: int
    chunk_frames: int = 1
    penalty: Callable[[Frames], Array] = squared_error

    @property
    def calls_per_step(self) -> int:
        """A chunk is one call."""
        return 1

    @property
    def is_deterministic(self) -> bool:
        """Nothing is drawn."""
        return True

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters."""
        return self.network.init(key)

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """Nothing is corrupted: sigma 1 and no noise."""
        del keys
        return Levels(sigma=jnp.ones(chunk.shape[:2], chunk.dtype), noise=jnp.zeros_like(chunk))

    def fit(self, params: Params, example: Example) -> Fit:
        """Predicts the chunk and compares; an injected data end point is the target that is missed."""
        prediction = self.network.apply(params, example.context, example.level, example.condition)
        remedy = "build the network for the chunk_frames of the generator and the frames of the clips"
        require_same_shape("the network's prediction", prediction, "the clip's chunk", example.x0, remedy)
        residual = prediction - example.x0
        return Fit(loss=self.penalty(residual), prediction=prediction, residual=residual)

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """`E = +r`."""
        del sigma
        return residual

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Frames:
        """The carry is the context itself."""
        del params, condition
        return context

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """One chunk, and the context slid on by it: made from float32, as in training, in the context's dtype."""
        level = jnp.zeros(keys.shape[0], jnp.float32)
        chunk = self.network.apply(params, carry.astype(jnp.float32), level, condition).astype(carry.dtype)
        return slide(carry, chunk), chunk
