"""An anchor: frames at the head of the context that never leave it.

The anchored context is `[anchor, recent frames]`: a step replaces recent frames only, so that the generator sees a
clean early frame however long the rollout. The clean reference image that SVI conditions on (arXiv 2510.09212) without
its errors; with an anchor of the first frames it is also what is called a sink with a window.

Whoever slides the contexts of a generator on asks it for its anchors (`errors.anchors`), as a harvest does.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from recycle_jax.generators.base import slide
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Anchored(Wrapper):
    """A generator that keeps the head of its context.

    Attributes:
        inner: the generator, whose network sees `[anchors, recent]` as its context. Its rollouts are begun anew at
            every step, so a cache that it keeps between steps is lost.
        anchors: frames that stay, fewer than the context has.
    """

    anchors: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.anchors < self.inner.context_frames:
            raise ValueError(
                f"anchors is {self.anchors}, but must leave at least one recent frame of a context of "
                f"{self.inner.context_frames}: use 1 to {self.inner.context_frames - 1}, or a longer context"
            )

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """One chunk, and the recent frames slid on by it."""
        inner: Any = self.inner.begin(params, carry, condition)
        _, chunk = self.inner.step(params, inner, keys, condition)
        recent = slide(carry[:, self.anchors :], chunk)
        return jnp.concatenate([carry[:, : self.anchors], recent], axis=1), chunk
