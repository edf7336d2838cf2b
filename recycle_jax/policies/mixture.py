"""Several policies in one batch: fixed shares of the rows, so that every row costs one network call.

Rows are dealt in turn (`i mod period`), which keeps the order of the bank's shards and does not depend on the
number of devices.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recycle_jax.data.base import Batch
from recycle_jax.generators.base import Generator
from recycle_jax.policies.base import Aux, Calls, Drawn, ExamplePolicy
from recycle_jax.typing import Params, PRNGKey, PyTree, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture(ExamplePolicy):
    """Rows shared out between policies.

    Attributes:
        parts: `(rows, policy)` pairs: of every `sum(rows)` rows, so many go to each policy.
    """

    parts: tuple[tuple[int, ExamplePolicy], ...]

    def __post_init__(self) -> None:
        if not self.parts or any(rows < 1 for rows, _ in self.parts):
            raise ValueError(f"parts is {self.parts}: give at least one (rows, policy) pair with rows >= 1")

    @property
    def period(self) -> int:
        """Rows after which the sharing repeats; batches must be divisible by it."""
        return sum(rows for rows, _ in self.parts)

    def calls(self, generator: Generator) -> Calls:
        """The parts', weighed by their rows."""
        billed = [(rows / self.period, policy.calls(generator)) for rows, policy in self.parts]
        return Calls(
            forward=sum(share * calls.forward for share, calls in billed),
            backward=sum(share * calls.backward for share, calls in billed),
        )

    def clip_frames(self, generator: Generator) -> int:
        """The longest that a part needs."""
        return max(policy.clip_frames(generator) for _, policy in self.parts)

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """What the one part remembers that remembers anything: there is one memory.

        Raises:
            ValueError: if more than one does.
        """
        made = [policy.begin(generator, batch, shards, key) for _, policy in self.parts]
        there = [memory for memory in made if memory is not None]
        if len(there) > 1:
            raise ValueError(f"{len(there)} parts have a memory of their own, but a mixture has one: leave one of them")
        return there[0] if there else None

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Each policy's examples of its own rows, put back in order."""
        if len(keys) % self.period:
            raise ValueError(
                f"{len(keys)} rows (on one device) cannot be shared "
                f"{'/'.join(str(n) for n, _ in self.parts)}: use a multiple of {self.period}"
            )
        first, drawn = 0, []
        for rows, policy in self.parts:
            share = lambda leaf, at=first, n=rows: _take(leaf, at, n, self.period)  # noqa: E731
            part = jax.tree.map(share, (batch, keys))
            made = policy.examples(params, generator, bank, *part)
            drawn.append(jax.tree.map(lambda leaf, n=rows: leaf.reshape(-1, n, *leaf.shape[1:]), made))
            first += rows
        if len({made.example.target for made in drawn}) > 1:
            names = ", ".join(sorted({str(made.example.target) for made in drawn}))
            raise ValueError(f"parts ask for different targets ({names}); one loss has one: give all parts the same")
        return jax.tree.map(lambda *leaves: _merge(*leaves), *drawn)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, fine: Scalar) -> PyTree:
        """Each policy's record of its own rows, one after the other, in the one bank that they share."""
        first = 0
        for rows, policy in self.parts:
            share = lambda leaf, at=first, n=rows: _take(leaf, at, n, self.period)  # noqa: E731
            own = {name: share(getattr(aux, name)) for name in ("residual", "sigma", "clean", "domain")}
            bank = policy.record(bank, dataclasses.replace(aux, **own), share(keys), step, fine)
            first += rows
        return bank


def _take(leaf: Any, first: int, rows: int, period: int) -> Any:
    dealt = leaf.reshape(-1, period, *leaf.shape[1:])[:, first : first + rows]
    return dealt.reshape(-1, *leaf.shape[1:])


def _merge(*leaves: Any) -> Any:
    merged = jnp.concatenate(leaves, axis=1)
    return merged.reshape(-1, *merged.shape[2:])
