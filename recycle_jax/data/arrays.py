"""Clips in memory, read at random: every window of every clip is equally likely.

Row `row` of batch `step` comes from a counter-based generator at `(seed, step, row)`. It depends on nothing
else: not on the number of rows, not on the devices, not on what was read before.
"""

import dataclasses
import functools
import hashlib
import warnings
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np

from recycle_jax.batch import Batch
from recycle_jax.data.layout import as_stored, range_notes, require_valid_clip, to_signed
from recycle_jax.data.parts import part_name, recording_name


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayClips:
    """A `ClipSource` over arrays in memory.

    Attributes:
        clips: one array a clip, `[t, h, w, c]` with one `(h, w, c)` for all: uint8, or float32 in [-1, 1].
        names: one unique name a clip, used in messages and to split.
        labels: one domain label a clip, an index into `domains`.
        domains: names of the labels.
        seed: which sequence of batches, at least 0.
        stride: frames of the clip from one frame of a window to the next.
        min_frames: the shortest window that will be asked for (context + chunk), so that clips that are too
            short are found at construction.
        deterministic: whether the next frame follows from the context alone.
        skipped: what could not be read when the source was made, for the report.
    """

    clips: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    domains: tuple[str, ...]
    seed: int = 0
    stride: int = 1
    min_frames: int = 1
    deterministic: bool = False
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_numbers(self)
        _require_one_entry_a_clip(self)
        for name, clip in zip(self.names, self.clips, strict=True):
            require_valid_clip(name, clip, self.clips[0].shape[1:])
        self.windows(self.min_frames)
        if short := self.too_short(self.min_frames):
            warnings.warn(_short_message(self, short), stacklevel=3)

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.clips[0].shape[1:]
        return height, width, channels

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Frames of each clip, int64 `[clips]`."""
        return np.array([len(clip) for clip in self.clips], np.int64)

    def windows(self, frames: int) -> int:
        """Returns how many windows of `frames` frames there are.

        Raises:
            ValueError: there are none, naming the longest clip.
        """
        return int(self._ends(frames)[-1])

    def window(self, index: int, frames: int) -> tuple[np.ndarray, int]:
        """Returns window `index` of `windows(frames)`, float32 `[frames, h, w, c]`, and its label."""
        ends = self._ends(frames)
        if not 0 <= index < ends[-1]:
            raise ValueError(f"window {index} asked for; there are {ends[-1]} of {frames} frames, from 0")
        taken, label = self._cut(ends, index, frames)
        return to_signed(taken), label

    def batch(self, step: int, rows: int, frames: int, first: int = 0) -> Batch:
        """Returns `rows` random windows from row `first` on; row `i` depends on `(seed, step, i)` only.

        Raises:
            ValueError: no clip is long enough, or there are no rows.
        """
        if rows < 1 or step < 0 or first < 0:
            raise ValueError(
                f"rows is {rows}, step is {step}, first is {first}; rows must be at least 1, step and first at least 0"
            )
        ends = self._ends(frames)
        drawn = [_draw(self.seed, step, row, int(ends[-1])) for row in range(first, first + rows)]
        clips, labels = zip(*(self._cut(ends, index, frames) for index in drawn), strict=True)
        clip = to_signed(np.stack(clips))
        return Batch(clip=jnp.asarray(clip), domain=jnp.asarray(np.array(labels, np.int32)))

    def too_short(self, frames: int) -> tuple[str, ...]:
        """Returns the names of the clips that hold no window of `frames` frames."""
        return tuple(name for name, length in zip(self.names, self.lengths, strict=True) if length < self._span(frames))

    def split(self, fraction: float, group: Callable[[str], str] = recording_name) -> "tuple[ArrayClips, ArrayClips]":
        """Splits by clip into `(training, held out)`; a clip's side depends on its own group's name only.

        Args:
            fraction: about how much is held out, above 0 and below 1; each side gets at least one group.
            group: name of a clip to the name of what must stay together (one scene); by default the recording that
                it is a part of.

        Raises:
            ValueError: a fraction out of range, fewer than two groups, or a side without a clip as long as
                `min_frames`.
        """
        _require_fraction(fraction)
        ranks = {key: _hash(key) for key in map(group, self.names)}
        if len(ranks) < 2:
            raise ValueError(
                f"{_count(len(self.clips), 'clip')} of {self.lengths.sum()} frames form {_count(len(ranks), 'group')}; "
                f"splitting by clip needs at least 2: split by time with split_clips(source, fraction)"
            )
        ordered = sorted(ranks, key=ranks.__getitem__)
        below = sum(rank < fraction for rank in ranks.values())
        held = set(ordered[: min(max(below, 1), len(ordered) - 1)])
        flags = [group(name) in held for name in self.names]
        return self._only([not flag for flag in flags]), self._only(flags)

    def split_by_time(self, fraction: float, gap: int | None = None) -> "tuple[ArrayClips, ArrayClips]":
        """Splits within clips into `(training, held out)`: the last part of each clip is held out.

        Clips that are too short to give each side `min_frames` are trained on whole.

        Args:
            fraction: how much of each clip is held out, above 0 and below 1.
            gap: frames between the two parts that neither side gets, since they look like both; None for as many
                as a window of `min_frames` spans.

        Raises:
            ValueError: a number out of range, or no clip that is long enough, saying what is needed.
        """
        _require_fraction(fraction)
        span = self._span(self.min_frames)
        between = span if gap is None else gap
        if between < 0:
            raise ValueError(f"gap is {gap} frames; it must be at least 0")
        cuts = [_cut_at(int(length), fraction, between, span) for length in self.lengths]
        if not any(cuts):
            raise ValueError(
                f"no clip can be split by time: {_count(len(self.clips), 'clip')}, the longest of {self.lengths.max()} "
                f"frames; each side needs {span} (min_frames = {self.min_frames} at stride {self.stride}), with "
                f"{between} between, {2 * span + between} in all; bring a longer clip, or lower min_frames, stride or "
                f"gap"
            )
        first = {index: slice(0, cut[0]) for index, cut in enumerate(cuts) if cut}
        last = {index: slice(cut[1], None) for index, cut in enumerate(cuts) if cut}
        return self._cut_to(first)._only([True] * len(cuts)), self._cut_to(last)._only([bool(cut) for cut in cuts])

    def _cut_to(self, parts: dict[int, slice]) -> "ArrayClips":
        clips, names = list(self.clips), list(self.names)
        for index, part in parts.items():
            start, stop, _ = part.indices(len(clips[index]))
            clips[index], names[index] = clips[index][part], part_name(names[index], start, stop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short clips were named when the whole was made
            return dataclasses.replace(self, clips=tuple(clips), names=tuple(names))

    def _only(self, keep: Sequence[bool]) -> "ArrayClips":
        chosen = [index for index, flag in enumerate(keep) if flag]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # short clips were named when the whole was made
            return dataclasses.replace(
                self,
                clips=tuple(self.clips[index] for index in chosen),
                names=tuple(self.names[index] for index in chosen),
                labels=tuple(self.labels[index] for index in chosen),
            )

    def _cut(self, ends: np.ndarray, index: int, frames: int) -> tuple[np.ndarray, int]:
        clip = int(np.searchsorted(ends, index, side="right"))
        start = index - (int(ends[clip - 1]) if clip else 0)
        return self.clips[clip][start : start + self._span(frames) : self.stride], self.labels[clip]

    def _span(self, frames: int) -> int:
        return (frames - 1) * self.stride + 1

    def _ends(self, frames: int) -> np.ndarray:
        if frames < 1:
            raise ValueError(f"frames is {frames}; a window needs at least 1")
        ends = np.cumsum(np.maximum(self.lengths - self._span(frames) + 1, 0))
        if ends[-1] == 0:
            raise ValueError(_no_window_message(self, frames, self._span(frames)))
        return ends


def from_arrays(
    clips: Sequence[np.ndarray],
    *,
    domains: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    stride: int = 1,
    min_frames: int = 1,
    deterministic: bool = False,
    skipped: Sequence[str] = (),
) -> ArrayClips:
    """Makes a source of `[t, h, w, c]` arrays, uint8 or floats in [-1, 1].

    Args:
        clips: the arrays; floats of other widths become float32.
        domains: the domain of each clip by name, one domain for all if None.
        names: a unique name for each clip, numbered if None.
        seed, stride, min_frames, deterministic, skipped: as in `ArrayClips`.

    Raises:
        ValueError: no clips; values outside [-1, 1] or NaN, naming clip and frame; sizes that differ; names
            used twice; no clip as long as `min_frames`.
    """
    arrays = tuple(map(as_stored, clips))
    for note in range_notes(arrays):
        warnings.warn(note, stacklevel=2)
    per_clip = ["all"] * len(arrays) if domains is None else list(domains)
    known = sorted(set(per_clip))
    return ArrayClips(
        clips=arrays,
        names=tuple(f"clip{index:05d}" for index in range(len(arrays))) if names is None else tuple(names),
        labels=tuple(known.index(domain) for domain in per_clip),
        domains=tuple(known),
        seed=seed,
        stride=stride,
        min_frames=min_frames,
        deterministic=deterministic,
        skipped=tuple(skipped),
    )


def _require_numbers(source: ArrayClips) -> None:
    if source.seed < 0 or source.stride < 1:
        raise ValueError(f"seed is {source.seed}, stride is {source.stride}; seed >= 0 and stride >= 1 are needed")


def _require_one_entry_a_clip(source: ArrayClips) -> None:
    count = len(source.clips)
    if not count:
        raise ValueError("a source needs at least one clip; none was given")
    if len(source.names) != count or len(source.labels) != count:
        raise ValueError(f"{count} clips, {len(source.names)} names, {len(source.labels)} labels; give one a clip")
    if len(set(source.names)) != count:
        twice = sorted({name for name in source.names if source.names.count(name) > 1})
        raise ValueError(f"names used twice: {', '.join(twice[:5])}; each clip needs its own")
    if not all(0 <= label < len(source.domains) for label in source.labels):
        raise ValueError(f"labels must be in 0..{len(source.domains) - 1}, one for each of {source.domains}")


def _short_message(source: ArrayClips, short: tuple[str, ...]) -> str:
    more = f" and {len(short) - 5} more" if len(short) > 5 else ""
    return (
        f"{len(short)} of {len(source.clips)} clips are shorter than {source.min_frames} frames at stride "
        f"{source.stride} and are never drawn: {', '.join(short[:5])}{more}"
    )


def _no_window_message(source: ArrayClips, frames: int, span: int) -> str:
    longest = int(source.lengths.max())
    return (
        f"no clip is long enough: a window of {frames} frames at stride {source.stride} spans {span} frames; there "
        f"{'is' if len(source.clips) == 1 else 'are'} {_count(len(source.clips), 'clip')} with {source.lengths.sum()} "
        f"frames in all, the longest has {longest} ({source.names[int(source.lengths.argmax())]}). Ask for at most "
        f"{(longest - 1) // source.stride + 1} frames (context_frames + chunk_frames of a generator, max_age of the "
        f"recycling, frames of a rollout), lower the stride, raise the fps of a FrameRule, or bring longer clips"
    )


def _cut_at(length: int, fraction: float, gap: int, least: int) -> tuple[int, int] | None:
    """Where the first part ends and the last one begins; None where a side would be shorter than `least`."""
    if length < 2 * least + gap:
        return None
    held = min(max(round(fraction * (length - gap)), least), length - gap - least)
    return length - gap - held, length - held


def _require_fraction(fraction: float) -> None:
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction is {fraction}; it must be above 0 and below 1")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _draw(seed: int, step: int, row: int, total: int) -> int:
    # The low words of the counter are left for the generator itself to count in.
    bits = np.random.Philox(key=seed, counter=[0, 0, row, step])
    return int(np.random.Generator(bits).integers(total))


def _hash(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
