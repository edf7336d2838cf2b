"""What identifies a folder of data: its content, wherever it lies."""

import os
import shutil

import pytest

from recycle_jax.io.identity import HEAD, folder_hash


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "clips"
    (root / "arm").mkdir(parents=True)
    (root / "arm" / "a.mp4").write_bytes(b"first")
    (root / "b.mp4").write_bytes(bytes(3 * HEAD))
    return root


def test_another_place_and_time_are_the_same_data(folder, tmp_path):
    before = folder_hash(folder)
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    os.utime(moved / "b.mp4", (0, 0))
    assert folder_hash(moved) == before
    assert len(before) == 16 and int(before, 16)


def changed_text(root):
    (root / "arm" / "a.mp4").write_bytes(b"other")


def changed_end(root):
    (root / "b.mp4").write_bytes(bytes(3 * HEAD - 1) + b"x")


def longer(root):
    (root / "b.mp4").write_bytes(bytes(3 * HEAD + 1))


def renamed(root):
    (root / "arm" / "a.mp4").rename(root / "arm" / "c.mp4")


def one_more(root):
    (root / "c.mp4").write_bytes(b"")


def one_less(root):
    (root / "b.mp4").unlink()


@pytest.mark.parametrize("change", [changed_text, changed_end, longer, renamed, one_more, one_less])
def test_other_content_is_other_data(folder, change):
    before = folder_hash(folder)
    change(folder)
    assert folder_hash(folder) != before


def test_litter_does_not_count(folder):
    before = folder_hash(folder)
    (folder / ".DS_Store").write_bytes(b"litter")
    (folder / "arm" / "._a.mp4").write_bytes(b"litter")
    assert folder_hash(folder) == before
    (folder / "notes.txt").write_text("not a video")
    chosen = [folder / "arm" / "a.mp4", folder / "b.mp4"]
    assert folder_hash(folder, chosen) == folder_hash(folder, reversed(chosen)) == before


def test_names_need_not_be_text_and_links_may_lead_round(folder):
    (folder / "arm" / "up").symlink_to(folder)
    before = folder_hash(folder)
    try:
        (folder / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes text only")
    assert folder_hash(folder) != before


def test_no_data_is_an_error(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match="is not a folder with files in it"):
            folder_hash(path)
