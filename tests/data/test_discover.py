"""Which files of a folder are read, under which names, and what is said of the others."""

import os

import pytest

from recycle_jax.data.discover import find_videos


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(found):
    return [found.name(file) for file in found.files]


def test_litter_of_file_systems_is_left_out(tmp_path):
    for name in ("a.mp4", "b/c.MOV", "b/d.mts"):
        touch(tmp_path / name)
    for name in ("._a.mp4", "b/._c.MOV", ".DS_Store", "Thumbs.db", "__MACOSX/a.mp4", ".Trash/x.mp4", "a.mp4.part"):
        touch(tmp_path / name)
    for name in ("b/.a.123.tmp.mp4", "@eaDir/a.mp4", "$RECYCLE.BIN/y.mp4", "notes.txt"):
        touch(tmp_path / name)
    found = find_videos(tmp_path)
    assert names(found) == ["a.mp4", "b/c.MOV", "b/d.mts"]
    assert found.problems == ()


def test_a_hidden_folder_may_be_named_itself(tmp_path):
    touch(tmp_path / ".data/a.mp4")
    assert names(find_videos(tmp_path / ".data")) == ["a.mp4"]


def test_linked_folders_and_files_are_followed(tmp_path):
    touch(tmp_path / "disk/dogs/b.mp4")
    touch(tmp_path / "disk/c.mp4")
    touch(tmp_path / "v/cats/a.mp4")
    (tmp_path / "v/dogs").symlink_to(tmp_path / "disk/dogs")
    (tmp_path / "v/c.mp4").symlink_to("../disk/c.mp4")
    found = find_videos(tmp_path / "v")
    assert names(found) == ["c.mp4", "cats/a.mp4", "dogs/b.mp4"]
    assert (found.problems, found.repeats) == ((), ())
    (tmp_path / "link").symlink_to(tmp_path / "v")
    assert names(find_videos(tmp_path / "link")) == names(found)


def test_links_that_lead_back_end(tmp_path):
    touch(tmp_path / "a/b/c.mp4")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(".")
    found = find_videos(tmp_path / "a")
    assert names(found) == ["b/c.mp4"]


def test_a_file_under_two_names_is_read_once_and_said(tmp_path):
    touch(tmp_path / "z/one.mp4")
    (tmp_path / "again").symlink_to(tmp_path / "z")
    found = find_videos(tmp_path)
    assert names(found) == ["z/one.mp4"], "the name without a link"
    (repeat,) = found.repeats
    assert "again/one.mp4 is the same file as" in repeat and repeat.endswith("z/one.mp4")


def test_what_cannot_be_reached_is_named(tmp_path, monkeypatch):
    touch(tmp_path / "a.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "closed").mkdir()
    listdir = os.listdir

    def refuses(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuses)
    found = find_videos(tmp_path)
    assert names(found) == ["a.mp4"]
    closed, gone = found.problems
    assert closed.endswith("closed cannot be listed: Permission denied")
    assert gone.endswith("gone.mp4 is a link to nowhere.mp4, which is not there")


def test_one_file_is_a_folder_of_one(tmp_path):
    assert names(find_videos(touch(tmp_path / "a.mp4"))) == ["a.mp4"]


def test_names_can_be_printed_and_saved(tmp_path):
    for raw in (b"caf\xe9.mp4", b"caf\xe8.mp4", "été.mp4".encode()):
        open(os.path.join(os.fsencode(tmp_path), raw), "wb").close()
    assert sorted(names(find_videos(tmp_path))) == sorted(["caf\\xe9.mp4", "caf\\xe8.mp4", "été.mp4"])


def test_where_nothing_is_found_the_reason_is_said(tmp_path):
    touch(tmp_path / "._a.mp4")
    (tmp_path / "b.mp4").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"no video in .*; 1 files whose names begin with a dot .*b\.mp4 is a link"):
        find_videos(tmp_path)
