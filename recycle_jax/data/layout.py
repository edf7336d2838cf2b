"""Clips as arrays: the layout `[t, h, w, c]` and the range that a source takes, and what other layouts look like."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

WIDEST_COLOUR = 3
LEAST_SIDE = 8
"""A frame of at least so many rows and columns that has 3 rows only if its first axis is the channels."""


def as_stored(clip: Any) -> np.ndarray:
    """Returns a clip as an array: floats of any width, bfloat16 included, as float32, all else as it is."""
    array = np.asarray(clip)
    return array.astype(np.float32) if jnp.issubdtype(array.dtype, jnp.floating) else array


def to_signed(frames: np.ndarray) -> np.ndarray:
    """Returns frames as float32 in [-1, 1]: uint8 0..255 mapped, floats as they are."""
    if frames.dtype != np.uint8:
        return frames.astype(np.float32)
    signed = frames.astype(np.float32)
    signed /= np.float32(127.5)
    signed -= np.float32(1.0)
    return signed


def require_valid_clip(name: str, clip: np.ndarray, shape: tuple[int, ...]) -> None:
    """Checks one clip.

    Raises:
        ValueError: not `[t, h, w, c]` of the frame `shape`, channels first, another dtype, NaN, or a value outside
            [-1, 1], naming the clip and its first bad frame.
    """
    _require_layout(name, clip)
    if clip.shape[1:] != shape or 0 in clip.shape:
        raise ValueError(f"clip {name} has shape {clip.shape}; frames of {shape} are needed: resize or omit it")
    if clip.dtype == np.uint8:
        return
    if clip.dtype != np.float32:
        raise ValueError(f"clip {name} is {clip.dtype}; pass uint8 in 0..255 or floats in [-1, 1]")
    per_frame = np.abs(clip).max(axis=(1, 2, 3))
    bad = np.flatnonzero(~(per_frame <= 1.0))
    if bad.size:
        raise ValueError(
            f"clip {name}, frame {bad[0]} ({bad.size} of {len(clip)} frames): largest magnitude "
            f"{per_frame[bad[0]]}; values must be in [-1, 1] and not NaN: {_rescaling(clip)}"
        )


def range_notes(clips: Sequence[np.ndarray]) -> list[str]:
    """Returns what may be wrong with the values of clips that are valid."""
    notes = []
    if clips and all(_in_unit_range(clip) for clip in clips):
        notes.append(
            "all values are in [0, 1]; black is -1 here and white 1, so that these clips have no dark pixel: if they "
            "are pictures in [0, 1], pass 2 * clip - 1"
        )
    if clips and all(clip.dtype == np.uint8 and clip.ndim == 4 and clip.shape[-1] == 4 for clip in clips):
        notes.append(
            "uint8 clips have 4 channels; video files hold 3: if the last one is transparency, pass clip[..., :3]"
        )
    return notes


def _require_layout(name: str, clip: np.ndarray) -> None:
    if clip.ndim != 4:
        hint = "; pass a list of clips, not one clip" if clip.ndim == 3 else ""
        raise ValueError(f"clip {name} has shape {clip.shape}; [t, h, w, c] is needed{hint}")
    _, first, rows, last = clip.shape
    # Greyscale floats with one row may be fields on a line, with many channels.
    colours = {3} if clip.dtype.kind == "f" else {1, WIDEST_COLOUR}
    if first in colours and min(rows, last) >= LEAST_SIDE:
        raise ValueError(
            f"clip {name} has shape {clip.shape}, which looks like channels first, [t, c, h, w]; "
            f"pass clip.transpose(0, 2, 3, 1)"
        )


def _in_unit_range(clip: np.ndarray) -> bool:
    return clip.dtype == np.float32 and clip.size > 0 and clip.min() >= 0.0 and 0.5 < clip.max() <= 1.0


def _rescaling(clip: np.ndarray) -> str:
    if np.nanmin(clip) >= 0.0 and 1.0 < np.nanmax(clip) <= 255.0:
        return "for 0..255, pass clip / 127.5 - 1, or uint8"
    return "rescale them, or pass uint8"
