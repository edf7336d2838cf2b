"""What policies that act around another one have in common: all that they do not change is the inner one's."""

import dataclasses

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import Aux, Calls, Drawn, ExamplePolicy
from recycle_jax.typing import Params, PRNGKey, PyTree, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyWrapper(ExamplePolicy):
    """A policy around another; subclasses change its examples, or what else they are for.

    Attributes:
        inner: the policy that makes the rows.
    """

    inner: ExamplePolicy

    def calls(self, generator: Generator) -> Calls:
        """What the inner policy costs."""
        return self.inner.calls(generator)

    def clip_frames(self, generator: Generator) -> int:
        """Frames that the inner policy needs."""
        return self.inner.clip_frames(generator)

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """What the inner policy remembers."""
        return self.inner.begin(generator, batch, shards, key)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The inner policy's examples."""
        return self.inner.examples(params, generator, bank, batch, keys)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """What the inner policy records."""
        return self.inner.record(bank, aux, keys, step, is_finite)
