"""A history policy decides what context a training step sees; everything else about the step is shared.

Every remedy for drift that changes training is one of these, so that comparing remedies is a loop over values.
Randomness comes only from the per-row keys, which the training step folds from the *global* row, so that a
policy draws the same on 1 and on 8 devices.

A policy may remember something from step to step: banked errors, how far a curriculum is, a critic. Its *memory* takes
the place of the bank: `begin` makes it, `loss` reads it, `record` returns the next one.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.batch import Batch
from recycle_jax.generators.base import Example, Generator
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowFlags, RowKeys, Scalar, Sigma


@struct.dataclass(kw_only=True)
class Aux:
    """What a loss leaves behind for the bank and the log.

    Attributes:
        residual: `[b, t, h, w, c]` prediction minus target, gradients stopped.
        sigma: `[b, t]` the noise levels at which it was made.
        clean: `[b]` whether the row's input was free of injected errors.
        domain: `[b]` int32.
        metrics: scalars, averaged over rows and devices.
        empty_draws: int32 scalar, rows that asked the bank and found nothing.
        prediction: `[b, chunk, h, w, c]` the clean chunk that was predicted, or None.
        memo: whatever else `record` needs, leaves `[b, ...]`.
    """

    residual: Frames
    sigma: Sigma
    clean: RowFlags
    domain: Array
    metrics: dict[str, Scalar]
    empty_draws: Scalar
    prediction: Frames | None = None
    memo: PyTree = None


@struct.dataclass(kw_only=True)
class Drawn:
    """An example and where it came from.

    Attributes:
        example: the training example.
        clean: `[b]` whether the row is free of injected errors.
        found: `[b]` False where the bank was asked and had nothing (the row is then clean).
        memo: what `record` needs of it, leaves `[b, ...]`.
    """

    example: Example
    clean: RowFlags
    found: RowFlags
    memo: PyTree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calls:
    """Network calls that one row of a batch costs.

    Attributes:
        forward: without gradient, those that rematerialisation repeats included.
        backward: with gradient, each as dear as three forward calls.
    """

    forward: float = 0.0
    backward: float = 1.0

    @property
    def forwards(self) -> float:
        """All of them, in forward calls."""
        return self.forward + 3.0 * self.backward


@runtime_checkable
class HistoryPolicy(Protocol):
    """A training loss, and what it leaves in the bank."""

    def calls(self, generator: Generator) -> Calls:
        """What a row costs on average."""
        ...

    def clip_frames(self, generator: Generator) -> int:
        """Frames that the clips of a batch must have."""
        ...

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """What the policy remembers before the first step: leaves `[shards, ...]`, or None.

        Only the shapes of `batch` count; training traces this first, to see what it will take. Each of the `shards`
        devices works on its own part: what should stay the same everywhere starts the same and is changed by means over
        devices.
        """
        ...

    def loss(
        self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys
    ) -> tuple[Scalar, Aux]:
        """The loss of one batch, to be differentiated in `params`."""
        ...

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """The bank after the step, the same as before where the step was not `is_finite` (bool)."""
        ...


class ExamplePolicy:
    """The usual policy: it makes examples, and the generator's own loss does the rest."""

    def calls(self, generator: Generator) -> Calls:
        """Forward and backward, once."""
        del generator
        return Calls()

    def clip_frames(self, generator: Generator) -> int:
        """A context and the chunk after it."""
        return generator.context_frames + generator.chunk_frames

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """Remembers nothing."""
        del generator, batch, shards, key

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Makes the training examples of a batch; what subclasses are for."""
        raise TypeError(f"{type(self).__name__} makes no examples: define examples() or loss()")

    def loss(
        self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys
    ) -> tuple[Scalar, Aux]:
        """Weighted mean of `generator.fit` over the examples."""
        drawn = self.examples(params, generator, bank, batch, keys)
        fit = generator.fit(params, drawn.example)
        aux = Aux(
            residual=fit.residual,
            sigma=drawn.example.sigma,
            clean=drawn.clean,
            domain=batch.domain,
            metrics=split_loss(fit.loss, drawn.clean),
            empty_draws=jnp.sum(jnp.logical_not(drawn.found).astype(jnp.int32)),
            prediction=fit.prediction,
            memo=drawn.memo,
        )
        return jnp.mean(drawn.example.weight * fit.loss), aux

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Leaves the bank as it is."""
        del aux, keys, step, is_finite
        return bank


def split_loss(loss: Array, clean: RowFlags) -> dict[str, Scalar]:
    """Sums behind the mean loss of clean and of recycled rows; the log divides them."""
    is_clean = clean.astype(loss.dtype)
    return {
        "loss_clean_sum": jnp.sum(loss * is_clean),
        "rows_clean": jnp.sum(is_clean),
        "loss_recycled_sum": jnp.sum(loss * (1.0 - is_clean)),
        "rows_recycled": jnp.sum(1.0 - is_clean),
    }


def all_clean(example: Example) -> Drawn:
    """Marks every row of an example as clean and found."""
    yes = jnp.ones(example.x0.shape[0], bool)
    return Drawn(example=example, clean=yes, found=yes)


def choose_rows(flag: RowFlags, yes: Any, no: Any) -> Any:
    """Row-wise `where` on arrays whose first axis is `b`."""
    return jnp.where(flag.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)


def require_frames(batch: Batch, need: int, purpose: str, otherwise: str) -> None:
    """Raises ValueError where clips are shorter than `need` frames; a slice past the end would start earlier."""
    if batch.clip.shape[1] < need:
        raise ValueError(
            f"clips of {batch.clip.shape[1]} frames are too short for {purpose}: "
            f"draw clips of {need} frames, or {otherwise}"
        )
