"""PSNR and SSIM of frames against recorded truth, by dm-pix: one-step quality, reported, never used for
exits.

Frames in [-1, 1] are mapped to [0, 1], the range dm-pix expects. Against the recorded truth a rollout of free
motion is soon displaced, which is no mistake: read these at one step, not at long horizons.
"""

import dm_pix
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

SSIM_WINDOW = 11


def psnr(frames: Float[Array, "*b h w c"], truth: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Returns the peak signal-to-noise ratio of each frame in dB, for a signal range of 2."""
    # dm-pix mixes Python and array numbers in ways that strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return dm_pix.psnr(_unit(frames), _unit(truth))


def ssim(frames: Float[Array, "*b h w c"], truth: Float[Array, "*b h w c"]) -> Float[Array, "*b"]:
    """Returns the structural similarity of each frame, at most 1.

    Raises:
        ValueError: if a side of a frame is shorter than the filter.
    """
    height, width = frames.shape[-3:-1]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"frames of {height} x {width} are smaller than SSIM's {SSIM_WINDOW} pixels: use psnr")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return dm_pix.ssim(_unit(frames), _unit(truth), filter_size=SSIM_WINDOW)


def _unit(frames: Array) -> Array:
    return jnp.clip((frames + 1.0) / 2.0, 0.0, 1.0)
