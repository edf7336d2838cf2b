"""Horizons by Kaplan-Meier, with the verdicts that censoring allows and no others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recycle_jax.drift.bootstrap import hierarchical_weights, weighted_median
from recycle_jax.drift.horizon import (
    Exits,
    horizon,
    horizon_ratio,
    median,
    paired_test,
    resampled_medians,
    survival,
)


def exits(*frames, max_frames=1024):
    frames = np.array(frames, np.float64)
    return Exits(exit_frame=frames, censored=frames >= max_frames)


def rng():
    return np.random.default_rng(0)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30))
def test_the_weighted_estimate_with_unit_weights_is_scipys(rollouts):
    frames, censored = np.array(rollouts, np.float64).T
    both = Exits(exit_frame=frames, censored=censored.astype(bool))
    medians, bounds = resampled_medians(both, np.ones((1, len(frames))))
    assert (medians[0], bounds[0]) == median(both)


def test_horizon_has_the_keys_of_a_result_file_and_says_when_it_is_a_bound():
    found = horizon([exits(16, 32, 64, 64), exits(16, 16, 64, 128)], 1024, rng())
    assert found["median"] == 32 and not found["lower_bound"]
    assert found["ci95"][0] <= 32 <= found["ci95"][1]
    assert (found["censored_fraction"], found["max_frames"]) == (0.0, 1024)
    long = horizon([exits(16, 1024, 1024)], 1024, rng())
    assert long["median"] == 1024 and long["lower_bound"]
    assert long["censored_fraction"] == pytest.approx(2 / 3)


def test_survival_counts_good_frames():
    found = survival([exits(0, 16, 64, 1024)], 1024)
    assert found == {"1": 0.75, "4": 0.75, "16": 0.75, "64": 0.5, "256": 0.25, "1024": 0.25}


def test_ratios_give_the_verdict_that_the_data_allow():
    short, long, never = (
        [exits(16, 16, 24, 16)] * 3,
        [exits(160, 320, 160, 160)] * 3,
        [exits(1024, 1024, 1024)] * 3,
    )
    assert horizon_ratio(long, short, 8, rng())["verdict"] == "longer"
    assert horizon_ratio(short, long, 8, rng())["verdict"] == "shorter"
    bound = horizon_ratio(never, short, 8, rng())
    assert (bound["verdict"], bound["ratio"]) == ("at_least", 64.0)
    assert horizon_ratio(short, never, 8, rng())["verdict"] == "at_most"
    both = horizon_ratio(never, never, 8, rng())
    assert (both["verdict"], both["both_censored"], both["p_logrank"]) == ("tie", True, 1.0)


def test_a_horizon_below_the_window_does_not_make_an_infinite_ratio():
    assert horizon_ratio([exits(64, 64)], [exits(0, 0)], 8, rng())["ratio"] == 8.0


def test_pairs_are_tested_exactly_and_three_cannot_be_significant():
    wins = [(exits(64, 64), exits(16, 16))] * 3
    found = paired_test(wins, 8)
    assert (found["wins"], found["losses"], found["ratio"]) == (3, 0, pytest.approx(4.0))
    assert found["p"] == pytest.approx(0.25)
    assert paired_test(wins * 2, 8)["p"] == pytest.approx(2 / 64)


def test_seeds_are_resampled_before_rollouts():
    weights = hierarchical_weights([4, 4, 4], 2000, rng())
    per_seed = weights.reshape(2000, 3, 4).sum(axis=2)
    assert np.all(weights.sum(axis=1) == 12) and np.all(per_seed % 4 == 0)
    assert np.mean(per_seed == 0) == pytest.approx((2 / 3) ** 3, abs=0.03), (
        "a whole seed is left out as often as it should"
    )


def test_the_weighted_median_is_the_median():
    values = rng().normal(size=(3, 7))
    np.testing.assert_allclose(weighted_median(values, np.ones((1, 7)))[0], np.median(values, axis=1))


def test_exits_without_rollouts_are_refused():
    with pytest.raises(ValueError, match="at least one rollout"):
        Exits(exit_frame=np.array([]), censored=np.array([], bool))
