"""Backward aggregation: the rollout's own past, played backwards.

A rollout starts on real frames and drifts. Played backwards, what has drifted comes first and what is nearer to the
real frames follows: a history of the generator's own making with a target that is better than it, and that goes on
from what the history shows. From the window `w` of a context of `n` and a chunk of `t` frames,

    context~ = w_{n+t-1} ... w_t           target = w_{t-1} ... w_0

Source: BAgger, arXiv 2512.12080. The target is real while the oldest frame of the context is, up to age
`n / t`; beyond, it is only less drifted, by `n / t` steps: bank small ages (`Harvest.max_age`) of long contexts. It
needs no clip, no simulator and no other network, and it holds only for what may as well run backwards: not for
falling, fading or whatever a condition (actions) steers forwards.
"""

import dataclasses

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.rollout.harvest import Case, Chains, Harvest
from recycle_jax.errors.rollout.references import ReferenceOutput
from recycle_jax.generators.base import anchors_of
from recycle_jax.typing import Frames, RowKeys, Scalar


@struct.dataclass(kw_only=True)
class Backward:
    """The reference; no clean version of the context is known: it is the turned context itself, at score 0."""

    @property
    def reads_clip(self) -> bool:
        """Needs no recorded future."""
        return False

    def __call__(self, context: Frames, chunk: Frames, recorded: Frames, keys: RowKeys) -> ReferenceOutput:
        """Turns the window round; a chain that is not finite is lost."""
        del recorded, keys
        n = context.shape[1]
        window = jnp.concatenate([context, chunk], axis=1)
        turned: Array = window[:, ::-1]
        return ReferenceOutput(
            target=turned[:, n:],
            clean_context=turned[:, :n],
            accept=jnp.isfinite(window).all(axis=(1, 2, 3, 4)),
            score=jnp.zeros(window.shape[0], window.dtype),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackwardHarvest(Harvest):
    """The harvest of `Backward`, whose cases have the turned window as their context, behind the anchors."""

    def case(self, chains: Chains, chunk: Frames, referred: ReferenceOutput, step: Scalar) -> Case:
        """The usual case, with the newest frames of the window as its context, newest first."""
        kept, frames = anchors_of(self.generator), chains.context.shape[1]

        def turned(window: Array) -> Array:
            return jnp.concatenate([window[:, :kept], window[:, kept:][:, ::-1]], axis=1)[:, :frames]

        return dataclasses.replace(
            super().case(chains, chunk, referred, step),
            context=turned(jnp.concatenate([chains.context, chunk], axis=1)),
            ages=turned(self.window_ages(chains)),
        )
