"""What generators that act around another one have in common: all that they do not change is the inner one's."""

import dataclasses
from typing import Any

from recycle_jax.generators.base import Example, Fit, Generator, Levels, said_deterministic
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wrapper:
    """A generator around another; subclasses write `step`, and what else they change.

    Attributes:
        inner: who generates.
    """

    inner: Generator

    @property
    def context_frames(self) -> int:
        """The inner generator's."""
        return self.inner.context_frames

    @property
    def chunk_frames(self) -> int:
        """The inner generator's."""
        return self.inner.chunk_frames

    @property
    def calls_per_step(self) -> int:
        """The inner generator's."""
        return self.inner.calls_per_step

    @property
    def is_deterministic(self) -> bool | None:
        """The inner generator's; noise that a wrapper adds to the history does not count."""
        return said_deterministic(self.inner)

    def init(self, key: PRNGKey) -> Params:
        """The inner generator's parameters."""
        return self.inner.init(key)

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """The inner generator's."""
        return self.inner.corruption(keys, chunk)

    def fit(self, params: Params, example: Example) -> Fit:
        """The inner generator's."""
        return self.inner.fit(params, example)

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """The inner generator's."""
        return self.inner.to_error(residual, sigma)

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Any:
        """The carry is the context itself; the inner generator begins anew at every step."""
        del params, condition
        return context
