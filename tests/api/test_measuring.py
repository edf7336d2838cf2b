"""Horizons of generators that are known to be good and bad, and clips that cannot judge."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import recycle_jax as rj


@dataclasses.dataclass(frozen=True)
class Repeats:
    """A generator without parameters: real motion that returns after some frames, or a still picture."""

    period: int
    context_frames: int = 8
    chunk_frames: int = 1
    calls_per_step: int = 1
    init = corruption = fit = to_error = None

    def begin(self, params, context, condition):
        return context

    def step(self, params, carry, keys, condition):
        frame = carry[:, -self.period : carry.shape[1] - self.period + 1]
        return jnp.concatenate([carry[:, 1:], frame], axis=1), frame


def swinging(clips=40, frames=64, size=16):
    """Blobs that swing with a period of 8 frames, each from another place."""
    y, x, t = np.mgrid[:size, :size, :frames]
    made = []
    for i in range(clips):
        across = size / 2 + 4 * np.sin(2 * np.pi * (t / 8 + i / clips))
        blob = np.exp(-((x - across) ** 2 + (y - size / 2 - (i % 5) / 2) ** 2) / 6)
        made.append(np.moveaxis(2 * blob - 1, -1, 0)[..., None].astype(np.float32))
    return rj.data.from_arrays(made)


@pytest.fixture(scope="module")
def horizon():
    others = {"frozen": (Repeats(period=1), {})}
    return rj.horizon(Repeats(period=8), {}, swinging(), frames=48, rollouts=8, window=8, others=others)


def test_real_motion_lasts_and_a_still_picture_does_not(horizon):
    assert horizon.bands is not None
    assert horizon.note == ""
    assert horizon.survival == 1.0
    assert horizon.this.motion == pytest.approx(1.0, abs=0.1)
    frozen = horizon.measured["frozen"]
    assert frozen.survival == 0.0
    assert frozen.median == 0.0
    assert all("motion" in cause for cause in frozen.causes)
    assert frozen.motion < 0.01


def test_what_is_printed_says_it_in_a_line_each(horizon):
    text = repr(horizon)
    assert "this: median >= 48 frames" in text
    assert "frozen: median 0 frames" in text


def test_rollouts_are_cut_to_what_clips_can_judge():
    made = rj.horizon(Repeats(period=8), {}, swinging(frames=40), frames=1024, rollouts=4, window=8)
    assert made.frames == 32
    assert "has 40 frames, which judges 32" in made.note


def test_clips_that_cannot_judge_cost_the_horizon_and_nothing_else():
    made = rj.horizon(Repeats(period=8), {}, swinging(clips=1, frames=14), frames=16, rollouts=4, window=8)
    assert made.bands is None
    assert made.note.startswith("not calibrated")
    assert np.isnan(made.median)
    assert made.this.shown is not None
    assert "not calibrated" in repr(made)


def test_the_page_holds_all_of_it_in_one_file(horizon, tmp_path):
    path = horizon.save(tmp_path / "report.html", fps=25, notes=["Parameters: here."])
    text = path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert "median &gt;= 48 frames" in text
    assert "Parameters: here." in text
    assert "25 frames/s" in text
    assert "data:video/mp4" in text


def test_one_long_clip_is_split_by_time_and_judges():
    made = rj.horizon(Repeats(period=8), {}, swinging(clips=1, frames=160), frames=16, rollouts=4, window=8)
    assert made.bands is not None


def test_without_bands_the_page_shows_pictures(tmp_path):
    made = rj.horizon(Repeats(period=8), {}, swinging(clips=1, frames=14), frames=16, rollouts=4, window=8)
    text = made.save(tmp_path / "report.html").read_text()
    assert "No horizon: not calibrated" in text
    assert "data:image/png" in text
