"""From a decoded frame of any shape to a training frame: pixel shape, orientation, colours, size and proportions.

Frames are scaled with an area filter: every source pixel counts, so that thin things fade rather than flicker.
"""

import dataclasses
from typing import Any

import numpy as np

from recycle_jax.data.colours import is_ordinary, to_ordinary
from recycle_jax.io.pyav import import_av
from recycle_jax.io.reading import Picture

LEAST_COSINE = 0.97  # of the angle between what a container asks for and a quarter turn: up to about 14 degrees


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameRule:
    """How a decoded frame becomes a training frame.

    Attributes:
        height: rows of a training frame.
        width: columns of a training frame.
        crop: True cuts the middle out to the wanted proportions; False shows everything, stretched.
        fps: frames a second: the pictures on the screen at these times; all frames as they come if None.
        max_frames: frames kept of each file, from its start, all of them if None.
    """

    height: int
    width: int
    crop: bool = True
    fps: float | int | None = None
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(f"size is {self.height} x {self.width}; both must be at least 1")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps is {self.fps}; it must be positive, or None for every frame")
        if self.max_frames is not None and self.max_frames < 1:
            raise ValueError(f"max_frames is {self.max_frames}; it must be at least 1, or None for all")


def fit(picture: Picture, rule: FrameRule, kind: str = "rgb24") -> np.ndarray:
    """Returns the frame as a viewer shows it, at the size of `rule`: uint8 `[height, width, 3]`, or no last axis.

    Pixels that are not square are made so; turns and mirroring that the container asks for are done; high dynamic
    range and wide colours become those of ordinary screens (BT.709).

    Args:
        picture: a frame that is not cropped, interlaced or transparent any more.
        rule: size and crop.
        kind: FFmpeg's name of the pixels to make, `rgb24` or `gray`.

    Raises:
        ValueError: colours that cannot be converted, or a turn by no multiple of 90 degrees.
    """
    frame, (transposed, mirrored, flipped) = picture.frame, _orientation(picture.frame)
    height, width = (rule.width, rule.height) if transposed else (rule.height, rule.width)
    rows, columns = height, width
    if rule.crop:
        shown = frame.width * float(picture.aspect)
        factor = max(height / frame.height, width / shown)
        rows, columns = max(height, round(frame.height * factor)), max(width, round(shown * factor))
    top, left = (rows - height) // 2, (columns - width) // 2
    cut = _scaled(frame, rows, columns, kind)[top : top + height, left : left + width]
    turned = cut.swapaxes(0, 1) if transposed else cut
    return np.ascontiguousarray(turned[:: -1 if flipped else 1, :: -1 if mirrored else 1])


def _scaled(frame: Any, rows: int, columns: int, kind: str) -> np.ndarray:
    ordinary = is_ordinary(frame)
    kind = kind if ordinary else "rgb48le"
    pixels = frame.reformat(width=columns, height=rows, format=kind, interpolation="AREA").to_ndarray()
    return pixels if ordinary else to_ordinary(pixels, frame.color_trc, frame.color_primaries)


def resize_clip(clip: np.ndarray, rule: FrameRule) -> np.ndarray:
    """Returns a uint8 clip `[t, h, w, c]` of 1 or 3 channels at the size of `rule`; its `fps` is not used."""
    av, kind = import_av(), "gray" if clip.shape[-1] == 1 else "rgb24"
    frames = clip[: rule.max_frames]
    planes = frames[..., 0] if kind == "gray" else frames
    made = (av.VideoFrame.from_ndarray(np.ascontiguousarray(plane), format=kind) for plane in planes)
    fitted = [fit(Picture(frame=frame, time=0.0), rule, kind) for frame in made]
    return np.stack(fitted).reshape(len(frames), rule.height, rule.width, clip.shape[-1])


def _orientation(frame: Any) -> tuple[bool, bool, bool]:
    """Returns whether to swap rows and columns, and after that to mirror left-right and top-bottom."""
    stored = frame.side_data.get("DISPLAYMATRIX")
    if stored is None:
        return False, False, False
    # A pixel at (x, y) is shown at (a x + c y, b x + d y), y pointing down.
    a, b, _, c, d = (float(number) for number in np.frombuffer(bytes(stored), np.int32)[:5])
    straight, crossed = abs(a) + abs(d), abs(b) + abs(c)
    if max(straight, crossed) < LEAST_COSINE * np.sqrt(2 * (a * a + b * b + c * c + d * d)):
        raise ValueError("the file asks for a turn by no multiple of 90 degrees: turn it upright and write it anew")
    return (True, c < 0, b < 0) if crossed > straight else (False, a < 0, d < 0)
