"""Cropping and checksums of containers, from files with single fields changed."""

import av
import numpy as np
import pytest

from recycle_jax.io.containers import container_facts
from tests.video_files import brightening, encode, overwrite, packets

DISPLAY_UNIT = bytes.fromhex("54b28104")
"""A field of the track's picture that FFmpeg writes and nothing here needs: four bytes for another field."""

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")


@pytest.mark.parametrize(
    ("field", "crop"), [("54bb", (8, 0, 0, 0)), ("54aa", (0, 8, 0, 0)), ("54cc", (0, 0, 8, 0)), ("54dd", (0, 0, 0, 8))]
)
def test_matroska_crops(tmp_path, field, crop):
    path = encode(tmp_path / "a.mkv", brightening(4))
    raw = path.read_bytes()
    assert raw.count(DISPLAY_UNIT) == 1
    path.write_bytes(raw.replace(DISPLAY_UNIT, bytes.fromhex(f"{field}8108")))
    assert container_facts(path).crop(0) == crop


def with_clean_aperture(path, across, down, right, lower):
    """Adds a `clap` box to the sample description of an MP4 file whose index comes last."""
    fields = [across, 1, down, 1, right, 1, lower, 1]
    box = (40).to_bytes(4) + b"clap" + b"".join(number.to_bytes(4, signed=True) for number in fields)
    raw = bytearray(path.read_bytes())
    positions = [raw.index(parent, raw.index(b"moov")) for parent in PARENTS]
    end = positions[-1] - 4 + int.from_bytes(raw[positions[-1] - 4 : positions[-1]])
    for at in positions:
        raw[at - 4 : at] = (int.from_bytes(raw[at - 4 : at]) + len(box)).to_bytes(4)
    path.write_bytes(raw[:end] + box + raw[end:])
    return path


def test_clean_apertures_of_mp4(tmp_path):
    path = encode(tmp_path / "a.mp4", brightening(4))
    assert container_facts(path).crop(0) == (0, 0, 0, 0)
    with_clean_aperture(path, across=32, down=20, right=8, lower=-2)
    assert container_facts(path).crop(0) == (4, 8, 16, 0)
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 4, "the file is still whole"


def test_a_sound_file_has_no_damage(tmp_path):
    for name, codec in (("a.mkv", "libx264"), ("a.webm", "libvpx-vp9")):
        assert container_facts(encode(tmp_path / name, brightening(20), codec)).damaged == ()


def test_checksums_find_a_single_wrong_bit(tmp_path):
    path = encode(tmp_path / "a.mkv", brightening(60), gop=20)
    at, size, _ = packets(path)[30]
    wrong = path.read_bytes()[at + size // 2] ^ 1
    facts = container_facts(overwrite(path, tmp_path / "bad.mkv", at + size // 2, bytes([wrong])))
    ((first, last),) = facts.damaged
    assert first <= at and last >= at + size


@pytest.mark.parametrize("seed", range(6))
def test_any_bytes_are_parsed_to_an_end(tmp_path, seed):
    rng = np.random.default_rng(seed)
    for name in ("a.mkv", "a.mp4"):
        path = encode(tmp_path / name, brightening(10))
        junk = rng.integers(0, 256, 40, np.uint8).tobytes()
        damaged = overwrite(path, tmp_path / f"bad_{name}", int(rng.integers(60, 600)), junk)
        damaged.write_bytes(damaged.read_bytes()[: int(rng.integers(50, 2000))])
        facts = container_facts(damaged)
        assert all(first < last for first, last in facts.damaged)


def test_other_files_say_nothing(tmp_path):
    for name, content in (("empty.mkv", b""), ("noise.mkv", b"\x1a\x45\xdf\xa3"), ("text.mp4", b"moov")):
        (tmp_path / name).write_bytes(content)
        facts = container_facts(tmp_path / name)
        assert (facts.crops, facts.damaged) == ((), ())
