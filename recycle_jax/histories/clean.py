"""Teacher forcing: the history is the clip itself. The baseline, B, and trained on, B+."""

import dataclasses

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.typing import Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class TeacherForcing(ExamplePolicy):
    """Clean context, clean target."""

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch as it is."""
        del params, bank
        return all_clean(clean_example(generator, batch, keys))
