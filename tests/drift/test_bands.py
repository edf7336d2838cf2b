"""Bands are simultaneous, only ever widened, checked on other video, and tamper-evident."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recycle_jax.drift.bands import Bands, Extremes, Tolerance, calibrate, exits


def extremes(seed, rollouts=200, shift=0.0):
    rng = np.random.default_rng(seed)
    spread = {"distance": 1e-4, "motion": 0.02, "retention": 0.05}
    middle = {"distance": 5e-4, "motion": 0.1, "retention": 1.0}
    noise = {name: np.abs(rng.standard_normal((2, rollouts))) * s for name, s in spread.items()}
    zeros = {"nonfinite": np.zeros(rollouts, np.float32)}
    return Extremes(
        minimum=zeros | {k: np.float32(shift + middle[k] - noise[k][0]) for k in spread},
        maximum=zeros | {k: np.float32(shift + middle[k] + noise[k][1]) for k in spread},
        mean=zeros | {k: np.full(rollouts, middle[k], np.float32) for k in spread},
    )


def bands_of(tolerances=None, **kwargs):
    return calibrate(extremes(0), extremes(1), window=8, max_frames=64, tolerances=tolerances or {}, **kwargs)


def test_at_most_five_percent_of_calibration_exit_and_the_bands_could_not_be_narrower():
    bands = bands_of()
    assert 0.02 < bands.calibration_exit_fraction <= 0.05
    assert bands.real_exit_fraction <= 0.1
    assert bands.statistics["nonfinite"] == (0.0, 0.0)
    assert bands.statistics["distance"][0] == 0.0, "a frame can not be too valid"
    assert bands.means["motion"] == pytest.approx(0.1)


@given(st.floats(1.0, 3.0), st.floats(-1.0, 2.0), st.floats(-1.0, 2.0))
def test_tolerances_never_narrow_a_band(factor, lo, hi):
    wide = Tolerance(factor=factor, lo_at_most=lo, hi_at_least=hi).widen(0.4, 0.9)
    assert wide[0] <= 0.4 and wide[1] >= 0.9


def test_tolerances_are_applied():
    bands = bands_of({"distance": Tolerance(hi_at_least=0.01), "retention": Tolerance(lo_at_most=0.5)})
    assert bands.statistics["distance"] == (0.0, 0.01)
    assert bands.statistics["retention"][0] == 0.5


def test_bands_survive_json_and_notice_an_edit(tmp_path):
    bands = bands_of({"distance": Tolerance(hi_at_least=0.01)})
    bands.save(tmp_path / "bands.json")
    again = Bands.load(tmp_path / "bands.json")
    assert (again, again.sha, hash(again)) == (bands, bands.sha, hash(bands))
    record = json.loads((tmp_path / "bands.json").read_text())
    record["statistics"]["motion"][1] *= 2
    with pytest.raises(ValueError, match="calibrate again"):
        Bands.from_json(record)
    assert dataclasses.replace(bands, window=16).sha != bands.sha


def test_exits_judge_both_ends():
    left = exits(extremes(0, rollouts=20, shift=1.0), {"motion": (0.0, 1.0), "retention": (0.0, 9.0)})
    assert left["motion"].all() and not left["retention"].any()


def test_other_real_video_that_leaves_is_an_error_with_numbers():
    with pytest.raises(ValueError, match=r"separate real rollouts exit.*motion"):
        calibrate(extremes(0), extremes(1, shift=0.5), window=8, max_frames=64, tolerances={})


def test_bad_calibrations_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        calibrate(extremes(0, rollouts=10), extremes(1), window=8, max_frames=64, tolerances={})
    with pytest.raises(ValueError, match="colour"):
        bands_of({"colour": Tolerance()})
    broken = extremes(0)
    broken.maximum["nonfinite"][3] = 1.0
    with pytest.raises(ValueError, match=r"\[3\]"):
        calibrate(broken, extremes(1), window=8, max_frames=64, tolerances={})
    with pytest.raises(ValueError, match="narrow"):
        Tolerance(factor=0.5)


def test_bands_judge_only_what_they_were_calibrated_for():
    bands = bands_of()
    names = tuple(bands.statistics)
    bands.check_fits(names, 8, 32)
    with pytest.raises(ValueError, match="same Statistics"):
        bands.check_fits((*names, "contrast"), 8, 32)
    with pytest.raises(ValueError, match="that length"):
        bands.check_fits(names, 8, 128)
