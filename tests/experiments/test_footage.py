"""Footage: its frame rate is that of its files, and results of one folder never pass for those of another."""

import dataclasses

import numpy as np
import pytest

from experiments import footage
from experiments.footage_files import FALLBACK_FPS, data_hash, frame_rate
from recycle_jax.cli import parse, written_out
from recycle_jax.io.video import write_mp4
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import write_json


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "clips"
    path.mkdir()
    (path / "a.mp4").write_bytes(b"one")
    return path


def test_videos_play_at_the_median_rate_of_the_files(tmp_path):
    clip = np.zeros((4, 16, 16, 3), np.uint8)
    for name, fps in (("a", 30), ("b", 30), ("c", 12.5)):
        write_mp4(tmp_path / f"{name}.mp4", clip, fps=fps)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert frame_rate(str(tmp_path)) == 30.0
    assert frame_rate("") == FALLBACK_FPS == 8.0


def test_the_command_says_which_folder_and_what_was_set():
    given = parse(footage.PRESETS, ["--data", "my films", "--config.seed", "4"], name="footage").config
    line = written_out("footage", "small", footage.Command(), given)
    assert line == "python -m experiments.footage --preset small --data 'my films' --config.seed 4"


def test_results_of_another_folder_are_refused(folder, tmp_path, monkeypatch):
    command = footage.Command(data=str(folder))

    class Read(Exception):
        pass

    def read(command):
        raise Read

    monkeypatch.setattr(footage, "load", read)
    workdir = tmp_path / "run"
    for _ in range(2):
        with pytest.raises(Read):
            footage.main(command, workdir, "small")
        write_json(workdir / "cells" / "arm.json", {})
    (folder / "a.mp4").write_bytes(b"two")
    with pytest.raises(ValueError, match="holds a run of other data .*choose another --workdir"):
        footage.main(command, workdir, "small")


def test_only_videos_count_and_rendered_ones_need_no_identity(folder):
    before = data_hash(str(folder))
    (folder / "notes.txt").write_text("of the recording")
    assert data_hash(str(folder)) == before
    assert data_hash("") is None


def test_a_failed_run_does_not_block_the_corrected_one(folder, tmp_path):
    open_workdir(tmp_path / "run", {"held_out": 0.25}, data="other")
    assert open_workdir(tmp_path / "run", {"held_out": 0.5}, data=data_hash(str(folder))).config.exists()


def test_one_long_video_is_enough(tmp_path):
    """One file, split by time; a measurement that cannot be calibrated costs neither the generator nor the video."""
    rng = np.random.default_rng(0)
    write_mp4(tmp_path / "films" / "only.mp4", rng.integers(0, 256, (90, 16, 16, 3), np.uint8), fps=10)
    command = dataclasses.replace(footage.smoke(), data=str(tmp_path / "films"))
    footage.main(command, tmp_path / "run", "smoke")
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"report.html", "generator", "long.mp4"} <= made
