"""Rectified flow: conventions and maths.

Data sits at sigma = 0, noise at sigma = 1. With clean data ``x0``, noise ``eps`` and one sigma a frame:

    (1)  x_sigma = (1 - sigma) x0 + sigma eps          the straight path
    (2)  v       = eps - x0                            its velocity
    (3)  time    = 1000 sigma                          what a network is told
    (4)  sigma'  = s sigma / (1 + (s - 1) sigma)       schedule shift s
    (5)  x0_hat  = x_sigma - sigma v_hat               one step to the data end
    (6)  eps_hat = x_sigma + (1 - sigma) v_hat         one step to the noise end

Under injected end points ``x0~`` and ``eps~`` two velocities can be asked for:

    (7)  paper:  v* = eps~ - x0                        (SVI, arXiv 2510.09212, section 3.3)
    (8)  exact:  v* = (x~_sigma - x0) / sigma          the one that does point at the clean clip

They agree where nothing is injected into the data end point. Source of (1), (2), (4): Liu et al., arXiv
2209.03003; Esser et al., arXiv 2403.03206.
"""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from recycle_jax.typing import Frames, Sigma

TIME_SCALE = 1000.0
SMALLEST_SIGMA = 1e-3
"""Equation (8) divides by sigma; below this it is divided by this."""


def over_frames(sigma: Sigma) -> Array:
    """`[b, t]` to `[b, t, 1, 1, 1]`, to weigh frames."""
    return sigma[:, :, None, None, None]


def interpolate(x0: Frames, eps: Frames, sigma: Sigma) -> Frames:
    """Equation (1); all arrays `[b, t, h, w, c]` but sigma `[b, t]`."""
    s = over_frames(sigma)
    return (1.0 - s) * x0 + s * eps


def velocity(x0: Frames, eps: Frames) -> Frames:
    """Equation (2)."""
    return eps - x0


def shift_sigma(sigma: Array, shift: float) -> Array:
    """Equation (4), elementwise; shift 1 changes nothing."""
    return shift * sigma / (1.0 + (shift - 1.0) * sigma)


def data_end(x_sigma: Frames, v: Frames, sigma: Sigma) -> Frames:
    """Equation (5)."""
    return x_sigma - over_frames(sigma) * v


@runtime_checkable
class Target(Protocol):
    """Which velocity an injected example asks for."""

    def __call__(self, x0: Frames, x_injected: Frames, noise_injected: Frames, sigma: Sigma) -> Frames: ...


def paper_target(x0: Frames, x_injected: Frames, noise_injected: Frames, sigma: Sigma) -> Frames:
    """Equation (7): corrupted noise minus clean data, as the SVI scripts train."""
    del x_injected, sigma
    return noise_injected - x0


def exact_target(x0: Frames, x_injected: Frames, noise_injected: Frames, sigma: Sigma) -> Frames:
    """Equation (8) as `v* + ((1 - sigma) / sigma) (x0~ - x0)`, which is equation (7) exactly where x0~ = x0."""
    pull = over_frames((1.0 - sigma) / jnp.maximum(sigma, SMALLEST_SIGMA))
    return noise_injected - x0 + pull * (x_injected - x0)


def euler_schedule(steps: int, shift: float) -> Array:
    """Returns the `[steps + 1]` float32 sigmas of a sampler, from 1 down to 0.

    Raises:
        ValueError: if `steps` is below 1.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, a sampler needs at least 1: pass steps=1 or more")
    return shift_sigma(jnp.linspace(1.0, 0.0, steps + 1, dtype=jnp.float32), shift)
