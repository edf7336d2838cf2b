"""One-step errors from one residual: the identities behind the error bank.

A training pass at noise level ``σ`` predicts ``v^`` where ``v*`` is asked for; ``r = v^ - v*`` is its
residual. Following either velocity to an end of the injected trajectory ``x~_σ`` (`flow_matching`, 5 and 6)
gives

    (1)  E_data  = x0^ - x0*  = -σ r            x0* = x~_σ - σ v*
    (2)  E_noise = ε^  - ε*   = (1 - σ) r       ε*  = x~_σ + (1 - σ) v*

so that one residual and its σ hold both banks of Stable Video Infinity (arXiv 2510.09212, equation 4), at
half the memory and for no network call besides the training pass. What (1) is measured against depends on
the target:

    (3)  paper:  x0* = x0 + (1 - σ) (x~0 - x0)   so that   x0^ - x0 = -σ r + (1 - σ) (x~0 - x0)
    (4)  exact:  x0* = x0                        so that   x0^ - x0 = -σ r

Under injection and the paper's target the released scripts bank ``-σ r``, not ``x0^ - x0``, and so does this
package: an error is what the network added, and not what was put into it.

A deterministic predictor is the case ``σ = 1`` with the opposite sign, ``E = +r`` (`Generator.to_error`).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax.typing import Frames, PyTree, RowKeys, Sigma


@struct.dataclass(kw_only=True)
class ResidualEntry:
    """What the bank keeps of a training pass; `b` rows, sharded over `b` (in a bank over `S`).

    Attributes:
        residual: `[b, t, h, w, c]` bfloat16 in the bank, `v^ - v*` (a predictor: `x^ - x`), frame units.
        sigma: `[b, t]` float32 in [0, 1], the noise level of each frame.
        age: `[b]` int32, 1 for an error made on clean context, one more than its context's error otherwise.
        domain: `[b]` int32.
        step: `[b]` int32, training step that made it.
    """

    residual: PyTree
    sigma: PyTree
    age: PyTree
    domain: PyTree
    step: PyTree

    @classmethod
    def entry(cls, chunk_frames: int, frame: tuple[int, int, int]) -> "ResidualEntry":
        """Shapes and storage dtypes of one entry, for `ErrorBank.init`; `frame` is `(h, w, c)`."""
        number = jax.ShapeDtypeStruct((), jnp.int32)
        return cls(
            residual=jax.ShapeDtypeStruct((chunk_frames, *frame), jnp.bfloat16),
            sigma=jax.ShapeDtypeStruct((chunk_frames,), jnp.float32),
            age=number,
            domain=number,
            step=number,
        )


def data_error(residual: Array, sigma: Array) -> Array:
    """Equation (1): `[…, t, h, w, c]` and `[…, t]` to `[…, t, h, w, c]`, in units of the data."""
    return -sigma[..., None, None, None] * residual


def noise_error(residual: Array, sigma: Array) -> Array:
    """Equation (2): `[…, t, h, w, c]` and `[…, t]` to `[…, t, h, w, c]`, in units of the noise."""
    return (1.0 - sigma[..., None, None, None]) * residual


def entry_error(entry: ResidualEntry) -> Array:
    """The key of one entry for `Nearest` and for norms: its data error, as the paper compares entries.

    σ varies inside a slot, so distances between residuals would rank otherwise. The sign does not matter.
    """
    return data_error(entry.residual, entry.sigma)


def context_error(error: Frames, frames: int, keys: RowKeys) -> Frames:
    """A random window of every row's error, for a context of `frames` frames.

    Args:
        error: `[b, t, h, w, c]` data errors of chunks.
        frames: frames of the context; where the chunk is shorter, its frames repeat in their order, from a
            random one on.
        keys: `[b]`.

    Returns:
        `[b, frames, h, w, c]`.
    """
    length = error.shape[1]
    starts = length - frames + 1 if length >= frames else length

    def cut(one: Array, key: Array) -> Array:
        start = jax.random.randint(key, (), 0, starts, jnp.int32)
        return one[(start + jnp.arange(frames, dtype=jnp.int32)) % length]

    return jax.vmap(cut)(error, keys)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClippedExact:
    """The exact target with its pull towards the clean clip clipped, for errors of any slot.

    `exact_target` asks for `((1 - σ) / σ) E_data` besides the paper's target. An error of the row's own slot
    shrinks with σ and keeps that bounded; an error of another slot does not, and is clipped here.

    Attributes:
        most: largest magnitude of the pull, in units of velocity (noise has standard deviation 1).
    """

    most: float

    def __post_init__(self) -> None:
        if not self.most > 0.0:
            raise ValueError(f"most={self.most}, but a clip is above 0: raise it, or use paper_target for none")

    def __call__(self, x0: Frames, x_injected: Frames, noise_injected: Frames, sigma: Sigma) -> Frames:
        """The paper's target plus the clipped pull, `[b, t, h, w, c]`."""
        paper = fm.paper_target(x0, x_injected, noise_injected, sigma)
        pull = fm.exact_target(x0, x_injected, noise_injected, sigma) - paper
        return paper + jnp.clip(pull, -self.most, self.most)
