"""Reference `backward`: the rollout's own past, played backwards.

A rollout starts on real frames and drifts. Played backwards, what has drifted comes first and what is nearer to the
real frames follows: a history of the generator's own making with a target that is better than it, and that goes on
from what the history shows. From the window `w` of a context of `n` and a chunk of `t` frames,

    context~ = w_{n+t-1} ... w_t           target = w_{t-1} ... w_0

Source: BAgger, arXiv 2512.12080. The target is real while the oldest frame of the context is, up to age
`n / t`; beyond, it is only less drifted, by `n / t` steps: bank small ages (`Harvest.max_age`) of long contexts. It
needs no clip, no simulator and no other network, and it holds only for what may as well run backwards: not for
falling, fading or whatever a condition (actions) steers forwards.
"""

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.references import ReferenceOutput
from recycle_jax.typing import Frames, RowKeys


@struct.dataclass(kw_only=True)
class Backward:
    """See the module docstring. No clean version of the context is known: it is the context itself, at score 0."""

    @property
    def reads_clip(self) -> bool:
        """Needs no recorded future."""
        return False

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Turns the window round; a chain that is not finite is lost."""
        del recorded, keys
        n, t = context.shape[1], chunk.shape[1]
        window = jnp.concatenate([context, chunk], axis=1)
        turned: Array = window[:, ::-1]
        return ReferenceOutput(
            target=turned[:, n:],
            clean_context=turned[:, :n],
            accept=jnp.isfinite(window).all(axis=(1, 2, 3, 4)),
            score=jnp.zeros(window.shape[0], window.dtype),
            places=tuple(range(n + t - 1, t - 1, -1)),
        )
