"""A folder of video files as a source of clips.

Files are decoded once, resized while decoding and kept in memory as uint8; what was decoded is also kept on
disk, so that the next run starts at once. Memory holds one frame of full size for each file that is being decoded.
"""

import concurrent.futures
import functools
import itertools
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recycle_jax.data.arrays import ArrayClips, from_arrays
from recycle_jax.data.decoded import DecodedFile, default_cache, fingerprint, read_cache, write_cache
from recycle_jax.data.discover import Found, find_videos
from recycle_jax.data.frame_filters import filtered
from recycle_jax.data.frame_times import at_rate, pace, pace_notes
from recycle_jax.data.geometry import FrameRule, fit
from recycle_jax.data.parts import part_name
from recycle_jax.io.progress import track
from recycle_jax.io.pyav import import_av
from recycle_jax.io.reading import Gap, Picture, read_frames


class TooMuchMemory(ValueError):
    """Decoded frames take more memory than allowed."""


class Budget:
    """Counts the bytes of decoded frames, from several threads, and stops all of them at a limit."""

    def __init__(self, limit: int, files: int) -> None:
        self.limit, self.files, self.taken, self.done = limit, files, 0, 0
        self.lock = threading.Lock()

    def take(self, size: int) -> None:
        """Raises TooMuchMemory beyond the limit."""
        with self.lock:
            self.taken += size
            if self.taken > self.limit:
                raise TooMuchMemory(
                    f"decoded frames take more than max_bytes = {_readable(self.limit)} after {self.done} of "
                    f"{self.files} files; set max_frames or fps, choose a smaller size, or raise max_bytes"
                )

    def finish_file(self) -> None:
        """Counts a file as done, for the message."""
        with self.lock:
            self.done += 1


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
    """Reads every video under `folder`, sub-folders and links included; hidden files are left out.

    A file that is damaged in places gives a clip for each whole piece, named as in `recycle_jax.data.parts`. What
    is missing, repeated or uneven is said in warnings, and stands in `skipped` of the source where frames are missing.

    Args:
        folder: where the files lie, or one file.
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
    found = find_videos(folder)
    kept = (default_cache() if cache is None else Path(cache).expanduser()) / f"{fingerprint(found, rule)}.npz"
    files = read_cache(kept)
    fresh = files is None
    files = _decode_all(found, rule, max_bytes) if files is None else files
    bad = [*(file.failure for file in files if file.failure), *found.problems]
    _require_few_bad(bad, len(files) + len(found.problems), max_bad_fraction, found.root)
    if fresh:
        write_cache(kept, files)
    _require_memory(files, max_bytes)
    return _source(found, files, bad, rule, domain, seed=seed, stride=stride, min_frames=min_frames)


def decode_file(path: str | os.PathLike[str], rule: FrameRule, budget: Budget | None = None) -> DecodedFile:
    """Returns what can be read of one file, by `rule`.

    Raises:
        ValueError: nothing can be read, with the reason; TooMuchMemory beyond the budget.
    """
    pieces, gaps, times = list[np.ndarray](), list[str](), list[float]()
    left = rule.max_frames
    for pictures in _pieces(read_frames(path), gaps):
        frames = at_rate(filtered(_timed(pictures, times)), rule.fps)
        piece = _stacked((_fitted(path, frame, rule) for frame in itertools.islice(frames, left)), rule, budget)
        if len(piece):
            pieces.append(piece)
        left = None if left is None else left - len(piece)
        if left == 0:
            break
    return DecodedFile(pieces=tuple(pieces), gaps=tuple(f"{os.fspath(path)}: {gap}" for gap in gaps), pace=pace(times))


def decode_clip(path: str | os.PathLike[str], rule: FrameRule) -> np.ndarray:
    """Returns one file's frames by `rule`, uint8 `[t, height, width, 3]`.

    Raises:
        ValueError: the file cannot be decoded from its first frame to its last one without a gap, with the reason.
    """
    file = decode_file(path, rule)
    if file.gaps:
        raise ValueError("; ".join(file.gaps))
    return file.pieces[0]


def _pieces(items: Iterable[Picture | Gap], gaps: list[str]) -> Iterator[Iterator[Picture]]:
    """Yields the runs of pictures without a gap; notes what lies between."""
    for is_gap, run in itertools.groupby(items, key=lambda item: isinstance(item, Gap)):
        if is_gap:
            gaps.extend(item.reason for item in run if isinstance(item, Gap))
        else:
            yield (item for item in run if isinstance(item, Picture))


def _timed(pictures: Iterable[Picture], times: list[float]) -> Iterator[Picture]:
    for picture in pictures:
        times.append(picture.time)
        yield picture


def _fitted(path: str | os.PathLike[str], picture: Picture, rule: FrameRule) -> np.ndarray:
    try:
        return fit(picture, rule)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _stacked(frames: Iterable[np.ndarray], rule: FrameRule, budget: Budget | None) -> np.ndarray:
    # One growing buffer: a list that is stacked at the end would take the memory twice.
    buffer = bytearray()
    for frame in frames:
        if budget is not None:
            budget.take(frame.nbytes)
        buffer += frame.tobytes()
    return np.frombuffer(buffer, np.uint8).reshape(-1, rule.height, rule.width, 3)


def _decode_all(found: Found, rule: FrameRule, max_bytes: int) -> list[DecodedFile]:
    import_av()
    budget = Budget(max_bytes, len(found.files))
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        results = pool.map(functools.partial(_decode_or_reason, rule=rule, budget=budget), found.files)
        return list(track(results, "decoding video", len(found.files)))
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_or_reason(file: Path, rule: FrameRule, budget: Budget) -> DecodedFile:
    try:
        return decode_file(file, rule, budget)
    except TooMuchMemory:
        raise
    except (ValueError, OSError) as error:
        return DecodedFile(failure=str(error))
    finally:
        budget.finish_file()


def _source(
    found: Found,
    files: Sequence[DecodedFile],
    bad: Sequence[str],
    rule: FrameRule,
    domain: Callable[[Path], str],
    **settings: Any,
) -> ArrayClips:
    clips, domains = dict[str, np.ndarray](), list[str]()
    for path, file in zip(found.files, files, strict=True):
        start = 0
        for piece in file.pieces:
            whole, stop = len(file.pieces) == 1, start + len(piece)
            clips[found.name(path) if whole else part_name(found.name(path), start, stop)] = piece
            domains.append(domain(path))
            start = stop
    gaps = [gap for file in files for gap in file.gaps]
    _warn_of_gaps(gaps, found)
    paces = {found.name(path): file.pace for path, file in zip(found.files, files, strict=True)}
    for note in pace_notes(paces, rule.fps):
        warnings.warn(f"{found.root}: {note}", stacklevel=4)
    return from_arrays(
        list(clips.values()), names=list(clips), domains=domains, skipped=[*bad, *gaps, *found.repeats], **settings
    )


def _warn_of_gaps(gaps: Sequence[str], found: Found) -> None:
    if gaps:
        message = f"{len(gaps)} places in files of {found.root} are left out; no window crosses them"
        warnings.warn(f"{message}:\n  {_listed(gaps)}", stacklevel=4)
    if found.repeats:
        message = f"{len(found.repeats)} links are read once, under the other name"
        warnings.warn(f"{message}:\n  {_listed(found.repeats)}", stacklevel=4)


def _require_memory(files: Sequence[DecodedFile], max_bytes: int) -> None:
    Budget(max_bytes, len(files)).take(sum(piece.nbytes for file in files for piece in file.pieces))


def _require_few_bad(bad: Sequence[str], files: int, limit: float, root: Path) -> None:
    if not bad:
        return
    message = f"{len(bad)} of {files} files in {root} cannot be read:\n  {_listed(bad)}"
    if len(bad) > limit * files:
        raise ValueError(f"{message}\nat most {limit:.0%} may be bad: repair or remove them, or raise max_bad_fraction")
    warnings.warn(f"{message}\nthey are left out", stacklevel=3)


def _listed(lines: Sequence[str]) -> str:
    return "\n  ".join(lines[:10]) + (f"\n  and {len(lines) - 10} more" if len(lines) > 10 else "")


def _readable(size: int) -> str:
    unit = next((unit for unit in ("GiB", "MiB", "KiB") if size >= UNITS[unit]), "bytes")
    return f"{size / UNITS.get(unit, 1):.4g} {unit}"


UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
