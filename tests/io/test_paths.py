"""Paths and file names that every file system takes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recycle_jax.io.files import write_bytes
from recycle_jax.io.paths import as_path, is_remote, named, plain_name, remove_tree, safe_name

pytestmark = pytest.mark.fast


def test_local_paths_stay_what_they_were():
    for text in ("runs/a", "/tmp/a", "~backup", "12:30:45.mp4", "C:/runs", "a b", "-dash"):
        assert as_path(text) == Path(text) and type(as_path(text)) is type(Path(text))
        assert not is_remote(text)


def test_an_address_in_a_bucket_stays_whole():
    path = as_path("gs://bucket/run") / "cells"
    assert str(path) == "gs://bucket/run/cells" and is_remote(path)
    assert as_path(path) == path


@pytest.mark.parametrize("name", ["balls-flow-0-b_plus@100,0.002", "robot arm", "видео", "recycle+0.1", "name=3"])
def test_names_that_are_legal_everywhere_stay(name):
    assert safe_name(name) == name


def test_names_of_method_ids_lose_their_colon():
    assert safe_name("arm-flow-0-ours:late") == "arm-flow-0-ours%3Alate"


@given(st.text(), st.text())
def test_names_come_back_and_stay_apart(one, two):
    assert plain_name(safe_name(one)) == one
    assert (safe_name(one) == safe_name(two)) == (one == two)
    assert not set(safe_name(one)) & set('<>:"/\\|?*\0\n')


def test_files_of_older_versions_are_found_under_their_names(tmp_path):
    assert named(tmp_path, "ours:late.json").name == "ours%3Alate.json"
    write_bytes(tmp_path / "ours:late.json", b"{}")
    assert named(tmp_path, "ours:late.json").name == "ours:late.json"
    assert named(tmp_path, "b.json").name == "b.json"


def test_names_as_long_as_the_file_system_takes_and_times_of_day_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("y" * 251 + ".bin", "10:15.bin", "100%d.bin"):
        assert write_bytes(name, b"x").read_bytes() == b"x"


def test_removing_what_is_not_there(tmp_path):
    remove_tree(tmp_path / "absent", missing_ok=True)
    with pytest.raises(FileNotFoundError):
        remove_tree(tmp_path / "absent")
