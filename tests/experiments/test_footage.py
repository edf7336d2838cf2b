"""Footage: its frame rate is that of its files."""

import numpy as np

from experiments.footage import FALLBACK_FPS, PRESETS, Command, frame_rate
from recycle_jax.cli import parse, written_out
from recycle_jax.io.video import write_mp4


def test_videos_play_at_the_median_rate_of_the_files(tmp_path):
    clip = np.zeros((4, 16, 16, 3), np.uint8)
    for name, fps in (("a", 30), ("b", 30), ("c", 12.5)):
        write_mp4(tmp_path / f"{name}.mp4", clip, fps=fps)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert frame_rate(str(tmp_path)) == 30.0 and FALLBACK_FPS == 8.0


def test_the_command_of_a_report_says_which_folder_and_what_was_set():
    given = parse(PRESETS, ["--data", "my films", "--config.seeds", "4", "5"], name="footage").config
    line = written_out("footage", "small", Command(), given)
    assert line == "python -m experiments.footage --preset small --data 'my films' --config.seeds 4 5"
