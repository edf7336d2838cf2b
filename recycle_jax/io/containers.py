"""What containers say of their video that PyAV does not show: cropping, and which bytes of Matroska are damaged.

Matroska (also WebM) stores a checksum with each cluster where the writer knew it. It is the only sign of damage for
codecs that decode any bytes to some picture, VP9 among them. Sources: RFC 8794 (EBML), RFC 9559 (Matroska),
ISO/IEC 14496-12 (the boxes of MP4 and MOV, `clap` in section 12.1.4).
"""

import dataclasses
import mmap
import os
import struct
import zlib
from collections.abc import Iterator

CLUSTER, SEGMENT, TRACKS, TRACK, VIDEO = 0x1F43B675, 0x18538067, 0x1654AE6B, 0xAE, 0xE0
CRC, VOID, EBML, NUMBER = 0xBF, 0xEC, 0x1A45DFA3, 0xD7
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK = 0xA3, 0xA0, 0xA1
CROP = {0x54BB: 0, 0x54AA: 1, 0x54CC: 2, 0x54DD: 3}
IN_SEGMENT = {CLUSTER, TRACKS, CRC, VOID, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367}
IN_CLUSTER = {CRC, VOID, SIMPLE_BLOCK, BLOCK_GROUP, 0xE7, 0xA7, 0xAB, 0xAF, 0x5854}
NESTED_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}

Crop = tuple[int, int, int, int]
"""Pixels to take away at the top, bottom, left and right of a decoded frame."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerFacts:
    """What a file says beside its packets.

    Attributes:
        crops: one entry for each video track, in the order of the file; empty where nothing is cropped.
        damaged: ranges of bytes, first and one past the last, that are not what was written.
    """

    crops: tuple[Crop, ...] = ()
    damaged: tuple[tuple[int, int], ...] = ()

    def crop(self, track: int) -> Crop:
        """Returns the crop of video track `track`, counted from 0."""
        return self.crops[track] if track < len(self.crops) else (0, 0, 0, 0)


def container_facts(path: str | os.PathLike[str]) -> ContainerFacts:
    """Returns what Matroska, MP4 and MOV files say; nothing for other formats and for what cannot be parsed."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return ContainerFacts()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:4] == EBML.to_bytes(4):
                return _matroska(data)
            if data[4:8] in (b"ftyp", b"moov", b"wide", b"free", b"mdat", b"skip"):
                return ContainerFacts(crops=tuple(_clean_apertures(data)))
    return ContainerFacts()


def _matroska(data: mmap.mmap) -> ContainerFacts:
    header = _element(data, 0)
    segment = _element(data, header[2]) if header else None
    if segment is None or segment[0] != SEGMENT:
        return ContainerFacts()
    crops: list[Crop] = []
    numbers: set[int] = set()
    damaged: list[tuple[int, int]] = []
    at, end = segment[1], min(segment[2], len(data))
    while at < end:
        element = _element(data, at)
        if element is None or element[0] not in IN_SEGMENT:
            found = data.find(CLUSTER.to_bytes(4), at + 1)
            damaged.append((at, end if found < 0 else found))
            at = damaged[-1][1]
        elif element[0] == CLUSTER:
            at = _check_cluster(data, element, numbers, damaged)
        else:
            if element[0] == TRACKS:
                crops.extend(_track_crops(data, element))
                numbers |= set(_track_numbers(data, element))
            at = element[2]
    return ContainerFacts(crops=tuple(crops) if any(map(any, crops)) else (), damaged=tuple(damaged))


def _element(data: mmap.mmap, at: int) -> tuple[int, int, int] | None:
    """Returns (id, first byte of the content, one past the last), or None for what is no element."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 9
    sized = at + width
    if width > 4 or sized >= len(data) or not data[sized]:
        return None
    digits = 9 - data[sized].bit_length()
    begin = sized + digits
    size = int.from_bytes(data[sized:begin]) - (1 << (7 * digits))
    unknown = size == (1 << (7 * digits)) - 1
    return int.from_bytes(data[at:sized]), begin, len(data) if unknown else begin + size


def _children(data: mmap.mmap, parent: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    at = parent[1]
    while at < min(parent[2], len(data)):
        element = _element(data, at)
        if element is None:
            return
        yield element
        at = element[2]


def _check_cluster(
    data: mmap.mmap, cluster: tuple[int, int, int], numbers: set[int], damaged: list[tuple[int, int]]
) -> int:
    """Adds what is damaged in a cluster; returns where the next element begins."""
    start, at, end = cluster[1], cluster[1], min(cluster[2], len(data))
    while at < end:
        element = _element(data, at)
        if element is not None and element[0] in IN_SEGMENT - IN_CLUSTER and end == len(data):
            return at  # a live recording writes clusters of unknown length
        if element is None or element[2] > end or not _belongs(data, element, numbers):
            found = end if end < len(data) else data.find(CLUSTER.to_bytes(4), at)
            damaged.append((at, len(data) if found < 0 else found))
            return damaged[-1][1]
        if element[0] == CRC and at == start and cluster[2] == end and not _matches(data, element, end):
            # The length itself may be what is wrong: then the next cluster is searched for.
            following = _element(data, end)
            found = data.find(CLUSTER.to_bytes(4), start)
            trusted = found < 0 or end == len(data) or (following is not None and following[0] in IN_SEGMENT)
            damaged.append((start, end if trusted else found))
            return damaged[-1][1]
        at = element[2]
    return at


def _belongs(data: mmap.mmap, element: tuple[int, int, int], numbers: set[int]) -> bool:
    """Whether an element may stand in a cluster; blocks must be of a track that there is."""
    kind = element[0]
    if kind == BLOCK_GROUP:
        return all(part[0] != BLOCK or _track(data, part) in numbers for part in _children(data, element))
    return kind in IN_CLUSTER and (kind != SIMPLE_BLOCK or _track(data, element) in numbers)


def _track(data: mmap.mmap, block: tuple[int, int, int]) -> int:
    first = data[block[1]] if block[1] < len(data) else 0
    digits = 9 - first.bit_length()
    return int.from_bytes(data[block[1] : block[1] + digits]) - (1 << (7 * digits)) if first else 0


def _matches(data: mmap.mmap, checksum: tuple[int, int, int], end: int) -> bool:
    with memoryview(data) as view, view[checksum[2] : end] as content:
        return zlib.crc32(content) == int.from_bytes(data[checksum[1] : checksum[2]], "little")


def _track_numbers(data: mmap.mmap, tracks: tuple[int, int, int]) -> Iterator[int]:
    for track in _children(data, tracks):
        for name, begin, end in _children(data, track) if track[0] == TRACK else ():
            if name == NUMBER:
                yield int.from_bytes(data[begin:end])


def _track_crops(data: mmap.mmap, tracks: tuple[int, int, int]) -> Iterator[Crop]:
    for track in _children(data, tracks):
        for part in _children(data, track) if track[0] == TRACK else ():
            if part[0] == VIDEO:
                crop = [0, 0, 0, 0]
                for name, begin, end in _children(data, part):
                    if name in CROP:
                        crop[CROP[name]] = int.from_bytes(data[begin:end])
                yield crop[0], crop[1], crop[2], crop[3]


def _clean_apertures(data: mmap.mmap) -> Iterator[Crop]:
    for entry, end in _sample_entries(data, 0, len(data)):
        width, height = struct.unpack(">HH", data[entry + 24 : entry + 28])
        boxes = (content for kind, content, _ in _boxes(data, entry + 78, end) if kind == b"clap")
        clap = next(boxes, None)
        yield (0, 0, 0, 0) if clap is None else _clap(struct.unpack(">8i", data[clap : clap + 32]), width, height)


def _clap(fields: tuple[int, ...], width: int, height: int) -> Crop:
    numbers = [fields[i] / fields[i + 1] if fields[i + 1] else 0.0 for i in range(0, 8, 2)]
    across, down, right, lower = numbers
    if not 0 < across <= width or not 0 < down <= height:
        return 0, 0, 0, 0
    left, top = round((width - across) / 2 + right), round((height - down) / 2 + lower)
    left, top = max(left, 0), max(top, 0)
    return top, max(height - round(down) - top, 0), left, max(width - round(across) - left, 0)


def _sample_entries(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the content of the first sample description of each video track: its first byte, one past its last."""
    boxes = list(_boxes(data, at, end))
    for kind, begin, stop in boxes:
        if kind in NESTED_BOXES:
            yield from _sample_entries(data, begin, stop)
    if any(kind == b"stsd" for kind, _, _ in boxes):
        begin, stop = next((begin, stop) for kind, begin, stop in boxes if kind == b"stsd")
        entry = next(_boxes(data, begin + 8, stop), None)
        if entry is not None and entry[2] - entry[1] >= 78 and _is_video(data, begin):
            yield entry[1], entry[2]


def _is_video(data: mmap.mmap, stsd: int) -> bool:
    # The media header of a video track stands shortly before its sample descriptions, in the same `minf`.
    before = data.rfind(b"minf", 0, stsd)
    return before >= 0 and data.find(b"vmhd", before, stsd) >= 0


def _boxes(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields (kind, first byte of the content, one past the last)."""
    while at + 8 <= end:
        size, kind, begin = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, begin = int.from_bytes(data[at + 8 : at + 16]), at + 16
        stop = end if size == 0 else at + size
        if stop < begin or stop > end:
            return
        yield kind, begin, stop
        at = stop
