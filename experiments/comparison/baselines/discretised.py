"""A generator that sees its history through a codebook, in training and at generation time alike.

    chunk = G(quantise(context))        context' = slide(context, chunk)                         (1)

Errors smaller than the dead zone around a code do not reach the next step; finer detail of the history does not
either. Source: FramePack, arXiv 2504.12626. The codes are a constant of the compiled program: parameters are the inner
generator's, as `experiments.comparison.baselines.discrete` trains them, and teacher forcing of the wrapped generator is
the same training.
"""

import dataclasses
import functools

from experiments.comparison.baselines.codebook import Codebook, quantise
from recycle_jax.generators.base import Example, Fit, slide
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.training.cost import flops_of
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discretised(Wrapper):
    """A generator whose context is quantised.

    Attributes:
        inner: who generates.
        codebook: from `experiments.comparison.baselines.codebook.make_codebook`.
    """

    codebook: Codebook

    def fit(self, params: Params, example: Example) -> Fit:
        """The inner generator's, on the quantised context."""
        context = quantise(self.codebook, example.context)
        return self.inner.fit(params, dataclasses.replace(example, context=context))

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """Equation (1); the chunk is left as it was made."""
        start = self.inner.begin(params, quantise(self.codebook, carry), condition)
        _, chunk = self.inner.step(params, start, keys, condition)
        return slide(carry, chunk), chunk

    def history_flops(self, context: Frames) -> float:
        """What the look-ups of a context cost, see `training.cost.HistoryCost`."""
        return flops_of(functools.partial(quantise, self.codebook), context)
