"""Footage: results of one folder of videos never pass for those of another."""

import dataclasses

import pytest

from experiments import footage
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import write_json


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "clips"
    path.mkdir()
    (path / "a.mp4").write_bytes(b"one")
    return path


def test_cells_of_another_folder_are_not_printed_again(folder, tmp_path, monkeypatch):
    command = dataclasses.replace(footage.small(), data=str(folder))

    class Read(Exception):
        pass

    def read(command):
        raise Read

    monkeypatch.setattr(footage, "load", read)
    with pytest.raises(Read):
        footage.main(command, tmp_path / "run", "small")
    workdir = tmp_path / "run"
    write_json(workdir / "cells" / "arm.json", {})
    with pytest.raises(Read):
        footage.main(command, workdir, "small")
    (folder / "a.mp4").write_bytes(b"two")
    with pytest.raises(ValueError, match="holds a run of other data .*choose another --workdir"):
        footage.main(command, workdir, "small")


def test_only_videos_count_and_rendered_ones_need_no_identity(folder):
    before = footage.data_hash(str(folder))
    (folder / "notes.txt").write_text("of the recording")
    assert footage.data_hash(str(folder)) == before
    assert footage.data_hash("") is None


def test_a_failed_run_does_not_block_the_corrected_one(folder, tmp_path):
    open_workdir(tmp_path / "run", {"held_out": 0.25}, data="other")
    assert open_workdir(tmp_path / "run", {"held_out": 0.5}, data=footage.data_hash(str(folder))).config.exists()
