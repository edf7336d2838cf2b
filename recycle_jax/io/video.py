"""Video files in and out through PyAV, and clips side by side with their labels.

Frames are written as H.264 with 4:2:0 colour, which every browser plays; one frame is in memory at a time.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from recycle_jax.extras import require
from recycle_jax.io.files import explaining, replacing
from recycle_jax.io.pyav import ffmpeg_name, import_av
from recycle_jax.io.reading import Gap, read_frames

BT709 = 1  # FFmpeg's number for the colour matrix, primaries and curve of HD video
FRAGMENT_FRAMES = 8
"""Frames from one key frame to the next in a fragmented file: what a kill can lose."""

FRAGMENTED = {"movflags": "+frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
PROMPT = {"tune": "zerolatency"}  # each frame is encoded when it comes
LABEL_HEIGHT = 20
GAP = 4


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


class Mp4Writer:
    """Writes H.264 video frame by frame; a context manager.

    A fragmented file is written under its final name and can be played while it grows and after a kill at any moment:
    what was written up to the last key frame, at most `FRAGMENT_FRAMES` back, is complete. A file that is not
    fragmented can be played once the writer is closed.

        with Mp4Writer("long.mp4", fps=12) as writer:
            writer.append(frame)

    Attributes:
        path: of the file; an older one is replaced when the first frame comes.
        frames: how many were appended.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fps: float | int = 8, scale: int = 1, fragmented: bool = True
    ) -> None:
        """Opens nothing yet: the first frame tells the size.

        Args:
            path: the file.
            fps: frames a second.
            scale: how many times wider and higher each pixel becomes.
            fragmented: whether the file can be played before it is closed.

        Raises:
            ValueError: fps that is not positive, or a scale below 1.
            ImportError: PyAV is missing, with the command that installs it.
        """
        self.path, self.fps, self.scale, self.fragmented = Path(path), fps, scale, fragmented
        self.frames = 0
        self._container: Any = None
        self._shape: tuple[int, ...] = ()
        if not fps > 0:
            raise ValueError(f"fps is {fps}; it must be positive")
        if scale < 1:
            raise ValueError(f"scale is {scale}; it must be at least 1")
        import_av()

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, frame: Any) -> None:
        """Adds one frame `[h, w, c]` with 1 or 3 channels, uint8 or float in [-1, 1].

        Raises:
            ValueError: another number of channels, or a size other than that of the first frame.
            OSError: unwritable or full disk, with the remedy.
        """
        picture = _enlarge(_rgb(frame), self.scale)
        with explaining(self.path):
            if self._container is None:
                self._open(picture.shape)
            if picture.shape != self._shape:
                raise ValueError(f"frame size changes from {self._shape} to {picture.shape}; all must be one size")
            self._container.mux(self._stream.encode(_encodable(picture, self._stream)))
        self.frames += 1

    def close(self) -> None:
        """Writes what the encoder still holds, and the end of the file; does nothing the second time."""
        container, self._container = self._container, None
        if container is None:
            return
        with explaining(self.path), container:
            container.mux(self._stream.encode(None))

    def _open(self, shape: tuple[int, ...]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        options = FRAGMENTED if self.fragmented else {"movflags": "+faststart"}
        container = import_av().open(ffmpeg_name(self.path), "w", format="mp4", options=options)
        self._stream = _add_stream(container, shape, self.fps, self.fragmented)
        self._container, self._shape = container, shape


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
        ImportError: PyAV is missing, with the command that installs it.
    """
    with replacing(path) as temporary:
        with Mp4Writer(temporary, fps=fps, scale=scale, fragmented=False) as writer:
            for frame in frames:
                writer.append(frame)
            if not writer.frames:
                raise ValueError(f"no frames to write to {os.fspath(path)}; pass at least one")
    return Path(path)


def video_frames(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Yields the decoded `av.VideoFrame`s of a file as they are stored, in order.

    Raises:
        ValueError: the file cannot be read as video from its start to its end, naming it and the reason.
        ImportError: PyAV is missing, with the command that installs it.
    """
    for item in read_frames(path):
        if isinstance(item, Gap):
            raise ValueError(f"{os.fspath(path)}: {item.reason}")
        yield item.frame


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
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _add_stream(container: Any, shape: tuple[int, ...], fps: float | int, fragmented: bool) -> Any:
    options = {"crf": "16", "preset": "medium", **(PROMPT if fragmented else {})}
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
    # Half the colour resolution needs even sizes.
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1  # the same bytes for the same frames
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = 1
    if fragmented:
        context.gop_size = FRAGMENT_FRAMES
    return stream


def _encodable(picture: np.ndarray, stream: Any) -> Any:
    padding = [(0, stream.height - picture.shape[0]), (0, stream.width - picture.shape[1]), (0, 0)]
    even = np.ascontiguousarray(np.pad(picture, padding, mode="edge"))
    frame = import_av().VideoFrame.from_ndarray(even, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")


def _require_equal_lengths(columns: Mapping[str, Iterable[Any]]) -> None:
    lengths = {label: len(frames) for label, frames in columns.items() if isinstance(frames, Sized)}
    if not columns or len(set(lengths.values())) > 1:
        raise ValueError(f"clips side by side need one length, at least one clip; lengths are {lengths}")


def _join(pictures: list[np.ndarray]) -> np.ndarray:
    gap = np.zeros((pictures[0].shape[0], GAP, 3), np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)]
    return np.concatenate(parts[1:], axis=1)


def _banner(labels: list[str], widths: list[int]) -> np.ndarray:
    Image, ImageDraw = require("PIL.Image", extra="video"), require("PIL.ImageDraw", extra="video")
    image = Image.new("RGB", (sum(widths) + GAP * (len(widths) - 1), LABEL_HEIGHT))
    draw, left = ImageDraw.Draw(image), 0
    for label, width in zip(labels, widths, strict=True):
        font = _fitting_font(label, width)
        draw.text((left + width / 2, LABEL_HEIGHT / 2), label, font=font, fill="white", anchor="mm")
        left += width + GAP
    return np.asarray(image)


def _fitting_font(label: str, width: int) -> Any:
    ImageFont = require("PIL.ImageFont", extra="video")
    sizes = range(14, 5, -1)
    fonts = (ImageFont.load_default(size=size) for size in sizes)
    return next((font for font in fonts if font.getlength(label) <= width), ImageFont.load_default(size=6))
