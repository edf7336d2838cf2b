"""Discretised history: the context is made of the codes of a codebook, the target is the recorded chunk.

What the generator is trained on here it must be given at generation time too: wrap it in
`experiments.comparison.baselines.discretised.Discretised` with the same codebook. Source: FramePack, arXiv 2504.12626.
"""

import dataclasses

from experiments.comparison.baselines.codebook import Codebook, quantise
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.typing import Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteHistory(ExamplePolicy):
    """Quantised context, clean target.

    Attributes:
        codebook: from `experiments.comparison.baselines.codebook.make_codebook`; a constant of the compiled program.
    """

    codebook: Codebook

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with its history quantised."""
        del params, bank
        context = quantise(self.codebook, batch.clip[:, : generator.context_frames])
        return all_clean(clean_example(generator, batch, keys, context=context))
