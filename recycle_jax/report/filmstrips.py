"""Filmstrips: one row a generator, one column a frame number, each pixel enlarged without smoothing."""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recycle_jax.io.video import to_uint8
from recycle_jax.report.labels import Labels

BACKGROUND = (24, 26, 31)
TEXT = (236, 238, 242)
TILE = 88
GAP = 6
HEADER = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filmstrip:
    """What a filmstrip shows; all rows started from the same clean context.

    Attributes:
        title: the task, in words.
        numbers: frame number of each column, from 1.
        rows: `truth` (real video) or an id -> frames `[n, h, w, c]`, uint8 or float in [-1, 1]; a row may have fewer
            frames than there are columns.
    """

    title: str
    numbers: Sequence[int]
    rows: Mapping[str, Any]

    def __post_init__(self) -> None:
        for name, frames in self.rows.items():
            shape = np.shape(frames)
            if len(shape) != 4 or not 1 <= shape[0] <= len(self.numbers) or shape[3] not in (1, 3):
                raise ValueError(
                    f"row {name!r} of filmstrip {self.title!r} has shape {shape} for {len(self.numbers)} "
                    "columns: give [n, h, w, 1 or 3] with one frame a column at most"
                )
        if not self.rows:
            raise ValueError(f"filmstrip {self.title!r} has no rows: give the frames of one generator or more")


def columns(max_frames: int) -> list[int]:
    """Returns the frame numbers 1, 4, 16, … up to `max_frames`."""
    return [4**k for k in range(max(int(max_frames), 1).bit_length() // 2 + 1) if 4**k <= max(max_frames, 1)]


def draw(filmstrip: Filmstrip, labels: Labels) -> Image.Image:
    """Draws a filmstrip with the generator's name before each row and the frame's number above each column."""
    names = labels.of(filmstrip.rows)
    rows = {name: filmstrip.rows[name] for name in names}
    height, width = np.shape(next(iter(rows.values())))[1:3]
    scale = max(1, round(TILE / height))
    font = ImageFont.load_default(size=14)
    left = int(max(font.getlength(names[name].name) for name in rows)) + 3 * GAP
    step_x, step_y = width * scale + GAP, height * scale + GAP
    size = (left + step_x * len(filmstrip.numbers), HEADER + step_y * len(rows))
    image = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(image)
    for column, frame in enumerate(filmstrip.numbers):
        middle = left + column * step_x + (step_x - GAP) / 2
        pen.text((middle, HEADER / 2), f"{frame:,}", font=font, fill=TEXT, anchor="mm")
    for row, (name, frames) in enumerate(rows.items()):
        top = HEADER + row * step_y
        pen.text((GAP, top + (step_y - GAP) / 2), names[name].name, font=font, fill=TEXT, anchor="lm")
        for column, frame in enumerate(to_uint8(frames)):
            image.paste(_tile(frame, scale), (left + column * step_x, top))
    return image


def to_png(filmstrip: Filmstrip, labels: Labels) -> bytes:
    """Returns a filmstrip as PNG."""
    buffer = io.BytesIO()
    draw(filmstrip, labels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _tile(frame: np.ndarray, scale: int) -> Image.Image:
    picture = np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame
    return Image.fromarray(picture.repeat(scale, axis=0).repeat(scale, axis=1))
