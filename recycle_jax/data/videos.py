"""A folder of video files as a source of clips.

Files are decoded once, resized while decoding and kept in memory as uint8; what was decoded is also kept on
disk, so that the next run starts at once. Frames are scaled with an area filter: every source pixel counts,
so that thin things fade rather than flicker.
"""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import math
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recycle_jax.data.arrays import ArrayClips, from_arrays
from recycle_jax.io.files import replacing
from recycle_jax.io.progress import track
from recycle_jax.io.video import import_av, video_frames

SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif")
CACHE_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameRule:
    """How a decoded frame becomes a training frame.

    Attributes:
        height: rows of a training frame.
        width: columns of a training frame.
        crop: True cuts the middle out to the wanted proportions; False shows everything, stretched.
        fps: frames a second that are kept, all of them if None.
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """What came out of a set of files.

    Attributes:
        clips: file name relative to the folder, to uint8 `[t, h, w, 3]`.
        skipped: one line for each file that could not be read.
    """

    clips: dict[str, np.ndarray]
    skipped: tuple[str, ...]


def parent_name(path: Path) -> str:
    """Returns the name of the folder a file lies in: the default domain."""
    return path.parent.name


def load_folder(
    folder: str | os.PathLike[str],
    rule: FrameRule,
    *,
    domain: Callable[[Path], str] = parent_name,
    seed: int = 0,
    stride: int = 1,
    min_frames: int = 1,
    max_bad_fraction: float = 0.1,
    max_bytes: int = 8 * 2**30,
    cache: str | os.PathLike[str] | None = None,
) -> ArrayClips:
    """Reads every video under `folder`, sub-folders included.

    Args:
        folder: where the files lie.
        rule: size, crop and frame rate.
        domain: absolute path of a file to the name of its domain.
        seed, stride, min_frames: as in `ArrayClips`.
        max_bad_fraction: the share of files that may be unreadable; they are named, skipped and counted.
        max_bytes: how much memory the decoded frames may take.
        cache: directory for decoded frames; None for `recycle_jax` in the user's cache directory.

    Raises:
        ValueError: no folder, no video in it, too many unreadable files (named), more than `max_bytes`, or
            no clip as long as `min_frames`.
        ImportError: PyAV is missing, with the command that installs it.
    """
    root = Path(folder).expanduser().absolute()
    files = find_videos(root)
    names = [file.relative_to(root).as_posix() for file in files]
    kept = (default_cache() if cache is None else Path(cache)) / f"{_fingerprint(files, names, rule)}.npz"
    decoded = _read_cache(kept)
    if decoded is None:
        decoded = _decode_all(files, names, rule, max_bytes)
        _require_few_bad(decoded, len(files), max_bad_fraction, root)
        _write_cache(kept, decoded)
    _require_few_bad(decoded, len(files), max_bad_fraction, root)
    return from_arrays(
        list(decoded.clips.values()),
        names=list(decoded.clips),
        domains=[domain(root / name) for name in decoded.clips],
        seed=seed,
        stride=stride,
        min_frames=min_frames,
        skipped=decoded.skipped,
    )


def find_videos(folder: str | os.PathLike[str]) -> list[Path]:
    """Returns the video files under `folder` in order of name.

    Raises:
        ValueError: there is no such folder, or no video in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder; name the folder that holds the video files")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"no video in {root} or below; files must end in {', '.join(SUFFIXES)}")
    return files


def decode_clip(path: str | os.PathLike[str], rule: FrameRule) -> np.ndarray:
    """Returns one file's frames by `rule`, uint8 `[t, height, width, 3]`.

    Raises:
        ValueError: the file cannot be decoded to its end, with the reason.
    """
    frames = itertools.islice(_every(video_frames(path), rule.fps), rule.max_frames)
    return np.stack([_fit(frame, rule) for frame in frames])


def resize_clip(clip: np.ndarray, rule: FrameRule) -> np.ndarray:
    """Returns a uint8 clip `[t, h, w, c]` of 1 or 3 channels at the size of `rule`; its `fps` is not used."""
    av, kind = import_av(), "gray" if clip.shape[-1] == 1 else "rgb24"
    frames = clip[: rule.max_frames]
    planes = frames[..., 0] if kind == "gray" else frames
    pictures = [
        _fit(av.VideoFrame.from_ndarray(np.ascontiguousarray(plane), format=kind), rule, kind) for plane in planes
    ]
    return np.stack(pictures).reshape(len(frames), rule.height, rule.width, clip.shape[-1])


def default_cache() -> Path:
    """Returns where decoded frames are kept: `recycle_jax` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recycle_jax"


def _every(frames: Iterator[Any], fps: float | int | None) -> Iterator[Any]:
    """Yields the first frame at or after each multiple of 1 / fps."""
    due = -math.inf
    for frame in frames:
        time = frame.time or 0.0
        if fps is None:
            yield frame
        elif time >= due - 1e-6:
            yield frame
            due = (math.floor(time * fps + 1e-6) + 1) / fps


def _fit(frame: Any, rule: FrameRule, kind: str = "rgb24") -> np.ndarray:
    height, width, turns = rule.height, rule.width, round(frame.rotation / 90) % 4
    if turns % 2:
        height, width = width, height
    rows, columns = height, width
    if rule.crop:
        factor = max(height / frame.height, width / frame.width)
        rows, columns = max(height, round(frame.height * factor)), max(width, round(frame.width * factor))
    small = frame.reformat(width=columns, height=rows, format=kind, interpolation="AREA").to_ndarray()
    top, left = (rows - height) // 2, (columns - width) // 2
    return np.ascontiguousarray(np.rot90(small[top : top + height, left : left + width], turns))


def _decode_all(files: Sequence[Path], names: Sequence[str], rule: FrameRule, max_bytes: int) -> Decoded:
    import_av()
    clips, skipped, total = {}, [], 0
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        results = pool.map(lambda file: _decode_or_reason(file, rule), files)
        for name, result in zip(names, track(results, "decoding video", len(files)), strict=True):
            if isinstance(result, str):
                skipped.append(result)
                continue
            clips[name], total = result, total + result.nbytes
            _require_memory(total, max_bytes, len(clips), len(files))
    finally:
        pool.shutdown(cancel_futures=True)
    return Decoded(clips=clips, skipped=tuple(skipped))


def _decode_or_reason(file: Path, rule: FrameRule) -> np.ndarray | str:
    try:
        return decode_clip(file, rule)
    except (ValueError, OSError) as error:
        return str(error)


def _require_memory(total: int, max_bytes: int, done: int, files: int) -> None:
    if total > max_bytes:
        raise ValueError(
            f"decoded frames take more than max_bytes = {max_bytes / 2**30:.2f} GiB after {done} of {files} "
            f"files; set max_frames or fps, choose a smaller size, or raise max_bytes"
        )


def _require_few_bad(decoded: Decoded, files: int, limit: float, root: Path) -> None:
    bad = len(decoded.skipped)
    if not bad:
        return
    listed = "\n  ".join(decoded.skipped[:10]) + (f"\n  and {bad - 10} more" if bad > 10 else "")
    message = f"{bad} of {files} files in {root} cannot be read:\n  {listed}"
    if bad > limit * files:
        raise ValueError(f"{message}\nat most {limit:.0%} may be bad: repair or remove them, or raise max_bad_fraction")
    warnings.warn(f"{message}\nthey are left out", stacklevel=3)


def _fingerprint(files: Sequence[Path], names: Sequence[str], rule: FrameRule) -> str:
    stats = [
        (name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, (f.stat() for f in files), strict=True)
    ]
    text = json.dumps([CACHE_VERSION, dataclasses.asdict(rule), stats])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _read_cache(path: Path) -> Decoded | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            names, skipped = stored["names"].tolist(), stored["skipped"].tolist()
            clips = {name: stored[f"clip{index}"] for index, name in enumerate(names)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        warnings.warn(f"the cache {path} cannot be read ({error}); decoding again", stacklevel=3)
        return None
    return Decoded(clips=clips, skipped=tuple(skipped))


def _write_cache(path: Path, decoded: Decoded) -> None:
    arrays = {f"clip{index}": clip for index, clip in enumerate(decoded.clips.values())}
    try:
        with replacing(path) as temporary:
            names, skipped = np.array(list(decoded.clips), str), np.array(decoded.skipped, str)
            np.savez(temporary, allow_pickle=False, names=names, skipped=skipped, **arrays)
    except OSError as error:
        warnings.warn(f"{error}; the next run decodes again", stacklevel=3)
