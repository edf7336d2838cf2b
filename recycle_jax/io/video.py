"""Video files in and out through PyAV, and clips side by side with their labels.

Frames are written as H.264 with 4:2:0 colour, which every browser plays; a pass holds one frame at a time.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recycle_jax.io.files import replacing

BT709 = 1  # FFmpeg's number for the colour matrix, primaries and curve of HD video
LABEL_HEIGHT = 20
GAP = 4


def import_av() -> ModuleType:
    """Returns PyAV.

    Raises:
        ImportError: it is not installed, with the command that installs it.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("video files need PyAV: run `pip install av`") from error
    return av


def to_uint8(frames: Any) -> np.ndarray:
    """Returns frames as uint8, the same shape: uint8 unchanged, floats from [-1, 1], clipped, NaN as black.

    Raises:
        ValueError: integers that are not uint8, whose range is a guess.
    """
    array = np.asarray(frames)
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind in "biu":
        raise ValueError(f"frames are {array.dtype}; pass uint8 in 0..255 or floats in [-1, 1]")
    unit = np.nan_to_num(array.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
    return np.rint((np.clip(unit, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def write_mp4(path: str | os.PathLike[str], frames: Iterable[Any], *, fps: float | int = 8, scale: int = 1) -> Path:
    """Writes one clip as H.264 video.

    Args:
        path: the file, replaced only when the new one is complete.
        frames: `[t, h, w, c]` with 1 or 3 channels, uint8 or float in [-1, 1], or any iterable of `[h, w, c]`
            frames, read one at a time.
        fps: frames a second.
        scale: how many times wider and higher each pixel becomes.

    Raises:
        ValueError: no frames, another number of channels, a size that changes, a scale below 1.
        OSError: unwritable or full disk, with the remedy.
    """
    av = import_av()
    pictures = (_enlarge(_rgb(frame), scale) for frame in frames)
    first = next(pictures, None)
    if first is None:
        raise ValueError(f"no frames to write to {os.fspath(path)}; pass at least one")
    with replacing(path) as temporary:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = _add_stream(container, first.shape, fps)
            _encode(av, container, stream, first)
            for picture in pictures:
                _require_shape(picture, first)
                _encode(av, container, stream, picture)
            container.mux(stream.encode(None))
    return Path(path)


def video_frames(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the decoded `av.VideoFrame`s of a file, in order.

    Raises:
        ValueError: the file cannot be read as video to its end, naming it and the reason.
    """
    av = import_av()
    try:
        with av.open(os.fspath(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{os.fspath(path)} holds no video")
            stream, count = container.streams.video[0], 0
            for frame in container.decode(stream):
                _require_sound(path, frame)
                count += 1
                yield frame
            # Edit lists may hide a few frames; a file cut short lacks many.
            if count < 0.9 * stream.frames or not count:
                raise ValueError(f"{os.fspath(path)} ends after {count} of {stream.frames} frames")
    except av.FFmpegError as error:
        raise ValueError(f"{os.fspath(path)} cannot be decoded: {error.strerror}") from error


def read_video(path: str | os.PathLike[str]) -> np.ndarray:
    """Returns a whole file as uint8 `[t, h, w, 3]`; raises as `video_frames` does."""
    return np.stack([frame.to_ndarray(format="rgb24") for frame in video_frames(path)])


def side_by_side(columns: Mapping[str, Iterable[Any]], *, scale: int = 1) -> Iterator[np.ndarray]:
    """Yields frames that show several clips next to each other, each under its label.

    Args:
        columns: label to `[t, h, w, c]` or an iterable of frames of one height, all equally long.
        scale: how many times wider and higher each pixel becomes; the labels keep their size.

    Yields:
        uint8 `[LABEL_HEIGHT + scale h, scale (w1 + w2 + …) + gaps, 3]`.

    Raises:
        ValueError: no columns, or clips of different lengths, naming them.
    """
    _require_equal_lengths(columns)
    banner = None
    for row in zip(*columns.values(), strict=True):
        pictures = [_enlarge(_rgb(frame), scale) for frame in row]
        if banner is None:
            banner = _banner(list(columns), [picture.shape[1] for picture in pictures])
        yield np.concatenate([banner, _join(pictures)], axis=0)


def _rgb(frame: Any) -> np.ndarray:
    picture = to_uint8(frame)
    if picture.ndim != 3 or picture.shape[-1] not in (1, 3):
        raise ValueError(f"a frame has shape {picture.shape}; video needs [h, w, 1] or [h, w, 3]")
    return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


def _enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    if scale < 1:
        raise ValueError(f"scale is {scale}; it must be at least 1")
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _add_stream(container: Any, shape: tuple[int, ...], fps: float | int) -> Any:
    rate = Fraction(fps).limit_denominator(1001)
    if rate <= 0:
        raise ValueError(f"fps is {fps}; it must be positive")
    stream = container.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "medium"})
    # Half the colour resolution needs even sizes.
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1  # the same bytes for the same frames
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = 1
    return stream


def _encode(av: ModuleType, container: Any, stream: Any, picture: np.ndarray) -> None:
    padding = [(0, stream.height - picture.shape[0]), (0, stream.width - picture.shape[1]), (0, 0)]
    even = np.ascontiguousarray(np.pad(picture, padding, mode="edge"))
    frame = av.VideoFrame.from_ndarray(even, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    container.mux(stream.encode(frame))


def _require_shape(picture: np.ndarray, first: np.ndarray) -> None:
    if picture.shape != first.shape:
        raise ValueError(f"frame size changes from {first.shape} to {picture.shape}; all must be one size")


def _require_sound(path: str | os.PathLike[str], frame: Any) -> None:
    if frame.is_corrupt:
        raise ValueError(f"{os.fspath(path)} is damaged at {frame.time} s")


def _require_equal_lengths(columns: Mapping[str, Iterable[Any]]) -> None:
    lengths = {label: len(frames) for label, frames in columns.items() if isinstance(frames, Sized)}
    if not columns or len(set(lengths.values())) > 1:
        raise ValueError(f"clips side by side need one length, at least one clip; lengths are {lengths}")


def _join(pictures: list[np.ndarray]) -> np.ndarray:
    gap = np.zeros((pictures[0].shape[0], GAP, 3), np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=1)


def _banner(labels: list[str], widths: list[int]) -> np.ndarray:
    image = Image.new("RGB", (sum(widths) + GAP * (len(widths) - 1), LABEL_HEIGHT))
    draw, left = ImageDraw.Draw(image), 0
    for label, width in zip(labels, widths, strict=True):
        font = _fitting_font(label, width)
        draw.text((left + width / 2, LABEL_HEIGHT / 2), label, font=font, fill="white", anchor="mm")
        left += width + GAP
    return np.asarray(image)


def _fitting_font(label: str, width: int) -> Any:
    sizes = range(14, 5, -1)
    fonts = (ImageFont.load_default(size=size) for size in sizes)
    return next((font for font in fonts if font.getlength(label) <= width), ImageFont.load_default(size=6))
