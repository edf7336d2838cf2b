"""Errors that are not the generator's own: what recycling must beat, or it is noise augmentation by another name.

Two remake the errors `E = context~ - clean context` of the cases that a batch draws, keeping some of what they are:

    phase-randomised  E' = a F^-1(e^{i phi} F(E)), F over frames, rows and columns, one random phase phi for all
                      channels: power spectrum and channel covariance of each error stay, its shape is gone        (1)
    shuffled          E'_i = a E_j, the error of another case of the batch: its shape stays, what it belongs to is
                      gone                                                                                         (2)

`a` is an amplitude, to be tuned as every rival's strength is. The bank that policies draw from is wrapped
(`TransformedErrors`). The others wrap the harvest program, so that the bank holds other errors: `stale` keeps those of
the first rounds, `foreign` rolls another model out.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, Drawn, ErrorBank
from recycle_jax.errors.bank.draws import DrawRule
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.errors.rollout.harvest import Chains
from recycle_jax.errors.rollout.references import Reference
from recycle_jax.training.harvest_step import HarvestProgram
from recycle_jax.typing import Frames, Params, PRNGKey, RowInts, RowKeys, Scalar

TRANSFORM_STREAM = 0x5472
"""Folded into the rows' keys, with which the bank draws too."""


@runtime_checkable
class ErrorTransform(Protocol):
    """From the errors of a batch of cases to other errors of the same shape, `[b, context, h, w, c]`."""

    def __call__(self, error: Frames, keys: RowKeys) -> Frames: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseRandomised:
    """Equation (1).

    Attributes:
        amplitude: factor on every error.
    """

    amplitude: float = 1.0

    def __call__(self, error: Frames, keys: RowKeys) -> Frames:
        """The phases are those of white noise, so that what comes back is real."""
        axes = (1, 2, 3)
        phase = jnp.angle(jnp.fft.fftn(rng.normal_rows(keys, (*error.shape[1:4], 1)), axes=axes))
        turned = jnp.fft.fftn(error, axes=axes) * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
        return self.amplitude * jnp.real(jnp.fft.ifftn(turned, axes=axes)).astype(error.dtype)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffled:
    """Equation (2); `j` is the next row of the batch, and cases are drawn at random.

    Attributes:
        amplitude: factor on every error.
    """

    amplitude: float = 1.0

    def __call__(self, error: Frames, keys: RowKeys) -> Frames:
        """Rows moved on by one."""
        del keys
        return self.amplitude * jnp.roll(error, 1, axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformedErrors(ErrorBank):
    """A bank of cases whose draws come with other errors, on the same clean contexts and with the same targets.

    Attributes:
        transform: from the drawn errors to those in their place.
    """

    transform: ErrorTransform

    def draw(self, state: BankState, keys: RowKeys, slot: RowInts | AnySlot | DrawRule) -> Drawn:
        """The usual draw, its contexts remade."""
        drawn = super().draw(state, keys, slot)
        clean = drawn.entries.clean_context.astype(jnp.float32)
        of_transform = jax.vmap(jax.random.fold_in, (0, None))(keys, TRANSFORM_STREAM)
        error = self.transform(drawn.entries.context.astype(jnp.float32) - clean, of_transform)
        entries = dataclasses.replace(drawn.entries, context=jnp.clip(clean + error, -1.0, 1.0))
        return dataclasses.replace(drawn, entries=entries)


def transformed(bank: ErrorBank, transform: ErrorTransform) -> TransformedErrors:
    """That bank with transformed draws."""
    return TransformedErrors(**vars(bank), transform=transform)


def stale(program: HarvestProgram, until: int) -> HarvestProgram:
    """The harvest before update `until`; from there on chains and bank stay as they are, and so do the metrics."""
    last: dict[str, Scalar] = {}

    def harvest(
        params: Params,
        reference: Reference,
        chains: Chains,
        state: BankState,
        fresh: Batch,
        key: PRNGKey,
        step: Scalar,
    ) -> tuple[Chains, BankState, dict[str, Scalar]]:
        if int(step) >= until:
            return chains, state, dict(last)
        chains, state, metrics = program(params, reference, chains, state, fresh, key, step)
        last.update(metrics)
        return chains, state, metrics

    return harvest


def foreign(program: HarvestProgram, params: Params) -> HarvestProgram:
    """The harvest of a model with these parameters, whoever is in training."""
    return lambda own, *given: program(params, *given)
