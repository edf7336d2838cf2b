"""Frames at even times from frames at any: which picture each tick shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recycle_jax.data.frame_times import Pace, at_rate, pace, pace_notes
from recycle_jax.io.reading import Picture


def shown(times, fps):
    """Returns the index of the picture at each tick."""
    return [picture.frame for picture in at_rate((Picture(frame=i, time=t) for i, t in enumerate(times)), fps)]


def even(count, fps):
    return [round(index / fps, 3) for index in range(count)]


@pytest.mark.parametrize(
    ("source", "fps", "expected"),
    [
        (30, 30, list(range(30))),
        (30, 15, list(range(0, 30, 2))),
        (30, 10, list(range(0, 30, 3))),
        (60, 30, list(range(0, 60, 2))),
        (24000 / 1001, 24000 / 1001, list(range(24))),
        (10, 20, [index // 2 for index in range(20)]),
    ],
)
def test_rates_that_divide_each_other_stay_even_when_times_are_rounded(source, fps, expected):
    assert shown(even(round(source), source), fps) == expected


def test_a_pause_holds_the_old_picture():
    assert shown([0, 0.1, 0.2, 0.3, 1.3, 1.4, 1.5], 10) == [0, 1, 2, *[3] * 10, 4, 5, 6]


def test_all_frames_once_without_a_rate():
    assert shown([0, 5, 5.1], None) == [0, 1, 2]


def test_one_frame_is_one_tick():
    assert shown([3.7], 10) == [0]
    assert shown([], 10) == []


@given(
    gaps=st.lists(st.integers(1, 400), min_size=1, max_size=30),
    start=st.integers(0, 5000),
    fps=st.sampled_from([3, 10, 24, 29.97, 60]),
)
def test_time_stays_real_time(gaps, start, fps):
    times = (start + np.cumsum([0, *gaps])) / 1000
    ticks = shown(times, fps)
    assert ticks[0] == 0 or times[ticks[0]] - times[0] <= 0.5 / fps
    assert ticks == sorted(ticks), "pictures come in order"
    for tick, index in enumerate(ticks):
        now = times[0] + tick / fps
        assert times[index] <= now + 0.5 / fps + 1e-5, "a picture is shown at most half a tick early"
        later = [time for time in times[index + 1 :] if time <= now - 1e-5]
        assert not later, "a newer picture was there already"
    assert len(ticks) / fps == pytest.approx(times[-1] - times[0] + min(gaps) / 1000, abs=1 / fps + 1e-5)


def test_pace_is_the_median():
    assert pace(even(20, 25)) == Pace(fps=25.0, varies=False)
    uneven = pace([0, 0.1, 0.2, 0.3, 1.3, 1.4, 2.5])
    assert uneven.fps == pytest.approx(10) and uneven.varies
    assert pace([1.0]) == Pace()


def test_what_is_uneven_is_said():
    fast, slow = Pace(fps=30.0), Pace(fps=10.0)
    assert pace_notes({"a": fast, "b": Pace(fps=29.97), "c": Pace()}, None) == []
    (note,) = pace_notes({"a": fast, "b": slow}, None)
    assert "from 10 a second (b) to 30 (a)" in note and "set fps=10" in note
    (note,) = pace_notes({"a": fast, "b": slow}, 24)
    assert "1 files have fewer than fps = 24" in note and "10 in b" in note
    assert pace_notes({"a": fast, "b": slow}, 10) == []
    (note,) = pace_notes({"a": Pace(fps=30.0, varies=True)}, None)
    assert "varies within 1 files, as in a" in note
    assert pace_notes({}, 10) == []
