"""Held-out clips from any number of recordings: whole ones where there are enough, else the end of each."""

from collections.abc import Callable

from recycle_jax.data.arrays import ArrayClips
from recycle_jax.data.parts import recording_name

FEWEST_GROUPS = 4
"""Groups below which whole ones would leave too few on one side."""


def split_clips(
    source: ArrayClips, fraction: float, group: Callable[[str], str] = recording_name, *, gap: int | None = None
) -> tuple[ArrayClips, ArrayClips]:
    """Splits into `(training, held out)`: by group where there are at least `FEWEST_GROUPS`, else by time.

    One long recording is split within: its beginning is trained on, its end held out, and no window of frames
    crosses the border.

    Args:
        source: the clips.
        fraction: about how much is held out, above 0 and below 1.
        group: name of a clip to the name of what must stay together.
        gap: frames left out at the border where time is what splits, as in `ArrayClips.split_by_time`.

    Raises:
        ValueError: a fraction out of range, or clips too few and too short, saying what is needed.
    """
    if len(set(map(group, source.names))) >= FEWEST_GROUPS:
        return source.split(fraction, group)
    return source.split_by_time(fraction, gap)
