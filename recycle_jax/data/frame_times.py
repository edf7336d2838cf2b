"""Frames at a constant rate from frames at any times: what was on the screen at each tick.

The ticks are `t0 + k / fps`, `t0` the time of the first frame. A tick shows the frame whose time is nearest, except
that a frame is never shown earlier than half a tick: where a recording pauses, the old picture is held until the new
one comes. With frame times `t_i`, frame `i` is shown from

    s_i = t_i - min(t_i - t_{i-1}, 1 / fps) / 2                                                          (1)

on. Halves keep the choice regular where times are rounded, as to whole milliseconds in Matroska: 30 frames a second
give every second one at 15, and each one once at 30. FFmpeg's `fps` filter takes ticks alone into account, so that at
half of a file's rate every choice is a tie.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from recycle_jax.io.reading import Picture

TOLERANCE = 1e-6
"""Seconds by which sums of times may be off."""


def at_rate(pictures: Iterable[Picture], fps: float | int | None) -> Iterator[Picture]:
    """Yields one picture a tick, as often as it was on the screen; all of them, once each, if `fps` is None."""
    if fps is None:
        yield from pictures
        return
    shown, start, tick, shortest = None, 0.0, 0, math.inf
    for picture in pictures:
        if shown is None:
            shown, start = picture, picture.time
            continue
        while start + tick / fps < _shown_from(shown.time, picture.time, fps) - TOLERANCE:
            yield shown
            tick += 1
        shortest = min(shortest, picture.time - shown.time or math.inf)
        shown = picture
    # The last picture stays for as long as the shortest of the others; a single one for one tick.
    end = 0.0 if shown is None else shown.time + (shortest if shortest < math.inf else 1 / fps)
    while shown is not None and start + tick / fps < _shown_from(shown.time, end, fps) - TOLERANCE:
        yield shown
        tick += 1


def _shown_from(before: float, time: float, fps: float | int) -> float:
    """Equation (1)."""
    return time - min(time - before, 1 / fps) / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a file's frames follow each other.

    Attributes:
        fps: frames a second, by the median interval; 0 where there are fewer than two frames.
        varies: whether a tenth of the intervals or more are off the median by over a quarter.
    """

    fps: float = 0.0
    varies: bool = False


def pace(times: Sequence[float]) -> Pace:
    """Returns the pace of frames at `times`, seconds, in order."""
    intervals = np.diff(np.asarray(times, np.float64))
    intervals = intervals[intervals > 0]
    if not intervals.size:
        return Pace()
    median = float(np.median(intervals))
    off = np.abs(intervals - median) > 0.25 * median
    return Pace(fps=1 / median, varies=bool(off.mean() >= 0.1))


def pace_notes(paces: dict[str, Pace], fps: float | int | None) -> list[str]:
    """Returns what a reader should know of files whose motion would look faster, slower or less smooth than others'."""
    known = {name: found for name, found in paces.items() if found.fps}
    if not known:
        return []
    slowest, fastest = (choose(known, key=lambda name: known[name].fps) for choose in (min, max))
    if fps is not None:
        slow = [name for name, found in known.items() if found.fps < 0.95 * fps]
        return [_slow_note(slow, slowest, known[slowest], fps)] if slow else []
    notes = []
    if known[fastest].fps > 1.1 * known[slowest].fps:
        notes.append(
            f"frame rates differ, from {known[slowest].fps:.4g} a second ({slowest}) to {known[fastest].fps:.4g} "
            f"({fastest}), so that the same motion differs by file; set fps={known[slowest].fps:.4g} or lower"
        )
    if varying := [name for name, found in known.items() if found.varies]:
        notes.append(
            f"the time from frame to frame varies within {len(varying)} files, as in {varying[0]}, so that motion "
            f"speeds up and slows down; set fps for frames at even times"
        )
    return notes


def _slow_note(slow: list[str], slowest: str, found: Pace, fps: float | int) -> str:
    return (
        f"{len(slow)} files have fewer than fps = {fps} frames a second, the fewest {found.fps:.4g} in {slowest}: "
        f"their pictures are repeated, so that motion stands still in between; set fps={found.fps:.4g} or lower"
    )
