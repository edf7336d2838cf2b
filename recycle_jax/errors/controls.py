"""Errors that are not the generator's own: what recycling must beat, or it is noise augmentation by another name.

Each remakes the errors `E = context~ - clean context` of a batch of cases, keeping some of what they are:

    phase-randomised  E' = a F^-1(e^{i phi} F(E)), F over frames, rows and columns, one random phase phi for all
                      channels: power spectrum and channel covariance of each error stay, its shape is gone        (1)
    shuffled          E'_i = a E_j, the error of another case of the batch: its shape stays, what it belongs to is
                      gone                                                                                         (2)

`a` is an amplitude, to be tuned as every rival's strength is. Other controls are not remade errors but other banks: the
first round's, kept (`Harvesting.until`), and another model's (`Harvesting.rolls_out`).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.typing import Frames, RowKeys


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
