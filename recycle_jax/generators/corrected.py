"""A separate corrector: a second network corrects every chunk before it becomes history.

    y = G(context)      chunk = C([context, y])      context' = slide(context, chunk)                 (1)

The corrector `C` is trained on its own, from windows with errors in their newest frames to these frames without: as the
network of a `Predictor` with `context_frames` of a context and a chunk. The generator itself is left as it is, at the
price of one network call more a step.
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax.generators.base import Example, Fit, anchors_of, require_same_shape, slide
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrected(Wrapper):
    """A generator whose chunks are corrected in rollouts; parameters are `{"inner": ..., "corrector": ...}`.

    Attributes:
        inner: who generates, and who is trained.
        corrector: `apply(params, window [b, context + chunk, h, w, c], level [b], condition) -> [b, chunk, h, w, c]`.
    """

    corrector: Network

    def __post_init__(self) -> None:
        if anchors_of(self.inner):
            raise ValueError(
                f"inner keeps {anchors_of(self.inner)} anchors, which would slide away: put Anchored around Corrected"
            )

    @property
    def calls_per_step(self) -> int:
        """The inner generator's and the corrector's, as if its network were as large."""
        return self.inner.calls_per_step + 1

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters of both."""
        of_inner, of_corrector = jax.random.split(key)
        return {"inner": self.inner.init(of_inner), "corrector": self.corrector.init(of_corrector)}

    def fit(self, params: Params, example: Example) -> Fit:
        """The inner generator's loss."""
        return self.inner.fit(params["inner"], example)

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """Equation (1)."""
        begun = self.inner.begin(params["inner"], carry, condition)
        _, made = self.inner.step(params["inner"], begun, keys, condition)
        window, level = jnp.concatenate([carry, made], axis=1), jnp.zeros(len(keys), carry.dtype)
        chunk = self.corrector.apply(params["corrector"], window, level, condition)
        require_same_shape("the corrector's chunk", chunk, "the generator's", made, "build it for its chunk_frames")
        return slide(carry, chunk), chunk
