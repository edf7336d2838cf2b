"""Any policy, with rows weighed so that a displacement costs the same in all of them.

What moves by `p` pixels changes a frame by a mean square of about `|p|² d`, with `d` of
`errors.rollout.references.displaced` at one pixel: much for a thing with many edges, little for a bare one. A mean
square therefore teaches the motion of bare things least, and they slow down first. With

    w(row) = usual / d(target),        1 / most <= w <= most                                        (1)

an error of so many pixels has the same weight in every row, but for rows that have hardly any edges or nothing else.
Weights depend on nothing but the row, so that they are the same on any number of devices.
"""

import dataclasses

import jax.numpy as jnp

from recycle_jax.batch import Batch
from recycle_jax.errors.rollout.references import displaced
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import Drawn
from recycle_jax.histories.wrapper import PolicyWrapper
from recycle_jax.typing import Frames, Params, PyTree, RowKeys, Rows

TINY = 1e-12
"""Keeps a row of one colour, which no displacement changes, from a division by nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientNormalizedLoss(PolicyWrapper):
    """Weighs the rows of another policy by equation (1), beside the weights that it gives itself.

    Attributes:
        inner: the policy that makes the rows.
        reference_energy: `d` of a row of weight 1, in frame units squared; `mean_gradient_energy` of real clips.
        most: largest weight, and one over the smallest.

    Raises:
        ValueError: if `reference_energy` is not positive, or `most` below 1.
    """

    reference_energy: float
    most: float = 4.0

    def __post_init__(self) -> None:
        if not self.reference_energy > 0.0:
            raise ValueError(
                f"reference_energy is {self.reference_energy}, must be positive: clips of one colour have no edges; "
                "train on them with gradient_normalized=False"
            )
        if not self.most >= 1.0:
            raise ValueError(f"most is {self.most}, must be at least 1: 1 weighs all rows alike")

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The inner policy's examples, weighed."""
        drawn = self.inner.examples(params, generator, bank, batch, keys)
        weight = drawn.example.weight * self.weight(drawn.example.x0)
        return dataclasses.replace(drawn, example=dataclasses.replace(drawn.example, weight=weight))

    def weight(self, target: Frames) -> Rows:
        """Equation (1), `[b, t, h, w, c]` to `[b]`."""
        change = displaced(target.astype(jnp.float32), 1.0)
        return jnp.clip(self.reference_energy / jnp.maximum(change, TINY), 1.0 / self.most, self.most)


def mean_gradient_energy(batch: Batch) -> float:
    """Mean square that a pixel's displacement makes of real clips, in frame units squared; read on the host."""
    return float(jnp.mean(displaced(batch.clip, 1.0)))
