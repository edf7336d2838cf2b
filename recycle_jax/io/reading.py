"""The frames of a video file, one at a time, and the places where some are missing.

What is damaged is left out: from the damage up to the next key frame, since every frame in between is predicted from
what was lost. What is whole before and after comes through, with a `Gap` between. Some damage cannot be seen: a few
codecs, such as VP9 and H.264 with arithmetic coding, decode wrong bytes to wrong pictures without an error, unless the
container keeps a checksum.
"""

import dataclasses
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from recycle_jax.io.containers import ContainerFacts, Crop, container_facts
from recycle_jax.io.pyav import ffmpeg_name, import_av

LONGEST_PAUSE = 10.0
"""Seconds without a new picture beyond which what follows counts as another recording."""

STEP_BACK = 0.5
"""Seconds that time may go back by without counting as another recording."""

MOST_HELD = 16
"""Frames that wait for the one they are predicted from: what the largest decoded picture buffer of H.264 holds."""

CAREFUL = {"vp9": "libvpx-vp9"}
"""Decoders that notice damage where FFmpeg's own one decodes it to some picture; used where FFmpeg has them."""

WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that read the second layer in which WebM stores transparency."""

LOSSY = {"mpegts", "mpeg"}
"""Formats in which a packet can be lost without a trace but in the times of the others."""

STEADY = 8
"""Packets at even times after which an uneven one means that some are lost."""

B_FRAME = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """One decoded frame.

    Attributes:
        frame: the `av.VideoFrame`, as stored.
        time: seconds from the start of the file; never less than that of the frame before.
        aspect: width of a pixel divided by its height.
        crop: pixels to take away at the top, bottom, left and right.
    """

    frame: Any
    time: float
    aspect: Fraction = Fraction(1)
    crop: Crop = (0, 0, 0, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """A place where frames are missing: no window of frames may cross it.

    Attributes:
        reason: what is wrong there, and where.
    """

    reason: str


def read_frames(path: str | os.PathLike[str]) -> Iterator[Picture | Gap]:
    """Yields what can be decoded of the main video stream of a file, in order of display.

    The main stream is never a cover picture; of several, the one marked as default, then the largest.

    Raises:
        ValueError: nothing in the file can be decoded as video, naming it and the reason.
        ImportError: PyAV is missing, with the command that installs it.
    """
    av, name = import_av(), os.fspath(path)
    try:
        if os.path.isfile(name) and not os.path.getsize(name):
            raise ValueError(f"{name} is empty (0 bytes)")
        # Tags may be in any encoding; they are not used.
        with av.open(ffmpeg_name(path), metadata_errors="backslashreplace") as container:
            stream = _main_stream(container, name)
            facts = container_facts(path)
            yield from _in_time(container, stream, facts, name)
    except (av.FFmpegError, OSError) as error:
        hint = "" if isinstance(error, OSError) else " (damaged, not complete, or not video)"
        raise ValueError(f"{name} cannot be decoded: {error.strerror}{hint}") from error


def _main_stream(container: Any, name: str) -> Any:
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise ValueError(f"{name} holds {'a cover picture and ' if container.streams.video else ''}no video")
    known = [stream for stream in moving if stream.codec_context is not None]
    if not known:
        raise ValueError(f"{name} cannot be decoded: its video codec is unknown to FFmpeg")
    return max(known, key=lambda stream: (bool(stream.disposition & Disposition.default), stream.width * stream.height))


def _in_time(container: Any, stream: Any, facts: ContainerFacts, name: str) -> Iterator[Picture | Gap]:
    """Adds times and shapes; cuts where time jumps."""
    crop = facts.crop(list(container.streams.video).index(stream))
    coded, step = stream.codec_context.sample_aspect_ratio, float(1 / (stream.guessed_rate or Fraction(25)))
    last, count = -math.inf, 0
    for frame in _sound_frames(container, stream, facts):
        if isinstance(frame, Gap):
            yield frame
            last = -math.inf
            continue
        time = frame.time if frame.time is not None else (0.0 if last == -math.inf else last + step)
        if reason := _jump(last, time):
            yield Gap(reason=reason)
        elif time < last:
            time = last
        now = stream.codec_context.sample_aspect_ratio
        aspect = (stream.sample_aspect_ratio if now == coded else now) or Fraction(1)
        yield Picture(frame=frame, time=time, aspect=aspect, crop=crop)
        last, count = time, count + 1
    if not count:
        raise ValueError(f"{name} holds no frame that can be decoded")


def _jump(last: float, time: float) -> str:
    if time < last - STEP_BACK:
        return f"time goes back from {last:.2f} s to {time:.2f} s"
    if last > -math.inf and time > last + LONGEST_PAUSE:
        return f"no picture from {last:.2f} s to {time:.2f} s"
    return ""


def _sound_frames(container: Any, stream: Any, facts: ContainerFacts) -> Iterator[Any]:
    """Yields frames that depend on nothing damaged, and gaps."""
    gate, packets = _Gate(), 0
    decoder = _decoder(stream)
    for packet, lost_before, damage in _packets(container, stream, facts):
        packets += packet.size > 0
        if lost_before:
            gate.close(lost_before)
        gate.saw(packet)
        if damage:
            gate.close(damage)
        for frame in _decode(decoder, packet, stream, gate):
            yield from gate.passing(frame)
    # Edit lists may hide a few frames; a file cut short lacks many.
    if packets < 0.9 * stream.frames:
        gate.close(f"the file ends after {packets} of {stream.frames} frames")
    yield from gate.finish()


class _Gate:
    """Lets sound frames through; closed by damage until a key frame that was stored after it."""

    def __init__(self) -> None:
        self.held: list[Any] = []
        self.newest = self.closed_at = -math.inf
        self.keys: set[int] = set()
        self.reason = ""
        self.time = 0.0

    def saw(self, packet: Any) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            self.newest = max(self.newest, stamp)
            if packet.is_keyframe and self.reason:
                self.keys.add(stamp)

    def close(self, reason: str) -> None:
        self.held, self.closed_at = [], self.newest
        self.reason = self.reason or f"{reason} after {self.time:.2f} s"

    def passing(self, frame: Any) -> Iterator[Any]:
        if frame.is_corrupt:
            self.close("damaged")
            return
        if self.reason:
            # Some decoders do not say which frames are key frames: then the container does.
            if not (frame.key_frame or frame.pts in self.keys):
                return
            if frame.pts is not None and frame.pts <= self.closed_at:
                return
            self.keys.clear()
            yield Gap(reason=f"{self.reason}, whole again from {frame.time or 0.0:.2f} s")
            self.reason = ""
        self.held.append(frame)
        # Frames that are predicted from a later one wait for it: it may turn out to be damaged.
        if frame.pict_type != B_FRAME or len(self.held) > MOST_HELD:
            yield from self._release()

    def finish(self) -> Iterator[Any]:
        yield from self._release()
        if self.reason:
            yield Gap(reason=f"{self.reason}, up to the end")

    def _release(self) -> Iterator[Any]:
        for frame in self.held:
            self.time = frame.time if frame.time is not None else self.time
            yield frame
        self.held = []


def _decoder(stream: Any) -> Any:
    """Returns the stream's decoder, or one that reads transparency or notices damage where it does not."""
    av, codec = import_av(), stream.codec_context.name
    transparent = codec in WITH_ALPHA and stream.metadata.get("alpha_mode") == "1"
    name = WITH_ALPHA[codec] if transparent else CAREFUL.get(codec)
    if name is None:
        return stream.codec_context
    try:
        decoder = av.CodecContext.create(name, "r")
        decoder.thread_count = os.cpu_count() or 1
        return decoder
    except av.codec.codec.UnknownCodecError as error:
        if not transparent:
            return stream.codec_context
        raise ValueError(f"{stream.container.name} is transparent; reading that needs an FFmpeg with {name}") from error


def _decode(decoder: Any, packet: Any, stream: Any, gate: _Gate) -> list[Any]:
    av = import_av()
    try:
        frames = decoder.decode(packet if packet.size else None)
    except av.EOFError:
        return []
    except av.FFmpegError as error:
        gate.close(f"damaged ({error.strerror})")
        return []
    for frame in frames:
        frame.time_base = stream.time_base  # the last frames, which come when packets have ended, lack it
    return frames


class _Rhythm:
    """Notices packets that are missing among ones at even times."""

    def __init__(self, *, counts: bool) -> None:
        self.counts, self.last, self.interval, self.steady = counts, None, 0, 0

    def break_at(self, packet: Any) -> str:
        if not self.counts or packet.dts is None:
            return ""
        interval, self.last = packet.dts - (packet.dts if self.last is None else self.last), packet.dts
        lost = self.steady >= STEADY and interval > 1.5 * self.interval
        self.steady = self.steady + 1 if abs(interval - self.interval) <= 0.1 * interval else 0
        self.interval = self.interval if lost else interval
        return "packets are missing" if lost else ""


def _packets(container: Any, stream: Any, facts: ContainerFacts) -> Iterator[tuple[Any, str, str]]:
    """Yields the packets of a stream, what is wrong with the place before each, and with each itself."""
    av, rhythm, ranges = import_av(), _Rhythm(counts=container.format.name in LOSSY), list(facts.damaged)
    demuxed = container.demux(stream)
    while True:
        try:
            packet = next(demuxed, None)
        except av.FFmpegError as error:
            # Nothing more can be read; what the decoder still holds is whole.
            yield av.Packet(), "", f"unreadable ({error.strerror})"
            return
        if packet is None:
            return
        lost_before, damage = rhythm.break_at(packet), "damaged" if packet.is_corrupt else ""
        if packet.pos is not None:
            while ranges and ranges[0][1] <= packet.pos:
                lost_before = "damaged"
                ranges.pop(0)
            if ranges and ranges[0][0] < packet.pos + packet.size:
                damage = "damaged"
        yield packet, lost_before, damage
