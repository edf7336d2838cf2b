"""A history policy decides what context a training step sees; everything else about the step is shared.

Every remedy for drift that changes training is one of these, so that comparing remedies is a loop over values.
Randomness comes only from the per-row keys, which the training step folds from the *global* row, so that a
policy draws the same on 1 and on 8 devices.
"""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.data.base import Batch
from recycle_jax.generators.base import Example, Generator
from recycle_jax.typing import Frames, Params, PyTree, RowFlags, RowKeys, Scalar, Sigma


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
    """

    residual: Frames
    sigma: Sigma
    clean: RowFlags
    domain: Array
    metrics: dict[str, Scalar]
    empty_draws: Scalar


@struct.dataclass(kw_only=True)
class Drawn:
    """An example and where it came from.

    Attributes:
        example: the training example.
        clean: `[b]` whether the row is free of injected errors.
        found: `[b]` False where the bank was asked and had nothing (the row is then clean).
    """

    example: Example
    clean: RowFlags
    found: RowFlags


@runtime_checkable
class HistoryPolicy(Protocol):
    """A training loss, and what it leaves in the bank.

    Attributes:
        rollout_steps: generator steps that a row costs on average, besides forward and backward.
    """

    @property
    def rollout_steps(self) -> float: ...

    def loss(
        self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys
    ) -> tuple[Scalar, Aux]:
        """The loss of one batch, to be differentiated in `params`."""
        ...

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, fine: Scalar) -> PyTree:
        """The bank after the step, the same as before where the step was not `fine` (bool)."""
        ...


class ExamplePolicy:
    """The usual policy: it makes examples, and the generator's own loss does the rest."""

    @property
    def rollout_steps(self) -> float:
        """No rollouts."""
        return 0.0

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
        )
        return jnp.mean(drawn.example.weight * fit.loss), aux

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, fine: Scalar) -> PyTree:
        """Leaves the bank as it is."""
        del aux, keys, step, fine
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
