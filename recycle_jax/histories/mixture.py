"""Several policies in one batch: fixed shares of the rows, so that every row costs one network call.

Rows are dealt in turn (`i mod period`), which keeps the order of the bank's shards and does not depend on the
number of devices. A part that remembers something keeps its own memory; the others share the bank
(`histories.memories`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator
from recycle_jax.histories.base import Aux, Calls, Drawn, ExamplePolicy, HistoryPolicy
from recycle_jax.histories.memories import Memories
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
        """A memory for every part that has one of its own, and no bank yet; None where no part remembers anything."""
        keys = jax.random.split(key, len(self.parts))
        own = tuple(policy.begin(generator, batch, shards, k) for (_, policy), k in zip(self.parts, keys, strict=True))
        return None if all(memory is None for memory in own) else Memories(own=own)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Each policy's examples of its own rows, put back in order."""
        if len(keys) % self.period:
            raise ValueError(
                f"{len(keys)} rows (on one device) cannot be shared "
                f"{'/'.join(str(n) for n, _ in self.parts)}: use a multiple of {self.period}"
            )
        first, drawn = 0, []
        for i, (rows, policy) in enumerate(self.parts):
            share = lambda leaf, at=first, n=rows: _take(leaf, at, n, self.period)  # noqa: E731
            part = jax.tree.map(share, (batch, keys))
            drawn.append(policy.examples(params, generator, _memory(bank, i), *part))
            first += rows
        if len({made.example.target for made in drawn}) > 1:
            names = ", ".join(sorted({str(made.example.target) for made in drawn}))
            raise ValueError(f"parts ask for different targets ({names}); one loss has one: give all parts the same")
        dealt = [
            _deal(dataclasses.replace(made, memo=None), rows) for (rows, _), made in zip(self.parts, drawn, strict=True)
        ]
        merged: Drawn = jax.tree.map(lambda *leaves: _merge(*leaves), *dealt)
        memos = tuple(made.memo for made in drawn)
        return merged if all(memo is None for memo in memos) else dataclasses.replace(merged, memo=memos)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Each policy's record of its own rows, one after the other: in its own memory, or in the shared bank."""
        first = 0
        for i, (rows, policy) in enumerate(self.parts):
            share = lambda leaf, at=first, n=rows: _take(leaf, at, n, self.period)  # noqa: E731
            of_rows = ("residual", "sigma", "clean", "domain", "prediction")
            own = {name: jax.tree.map(share, getattr(aux, name)) for name in of_rows}
            own["memo"] = None if aux.memo is None else aux.memo[i]
            memory = policy.record(_memory(bank, i), dataclasses.replace(aux, **own), share(keys), step, is_finite)
            bank = bank.after(i, memory) if isinstance(bank, Memories) else memory
            first += rows
        return bank


def period_of(policy: HistoryPolicy) -> int:
    """Rows after which the sharing of a batch repeats: a mixture's, also inside of other policies; else 1."""
    if isinstance(policy, Mixture):
        return policy.period
    inner = getattr(policy, "inner", None)
    return 1 if inner is None else period_of(inner)


def _memory(bank: PyTree, part: int) -> PyTree:
    return bank.of(part) if isinstance(bank, Memories) else bank


def _take(leaf: Any, first: int, rows: int, period: int) -> Any:
    dealt = leaf.reshape(-1, period, *leaf.shape[1:])[:, first : first + rows]
    return dealt.reshape(-1, *leaf.shape[1:])


def _deal(tree: PyTree, rows: int) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.reshape(-1, rows, *leaf.shape[1:]), tree)


def _merge(*leaves: Any) -> Any:
    merged = jnp.concatenate(leaves, axis=1)
    return merged.reshape(-1, *merged.shape[2:])
