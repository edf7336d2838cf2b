"""Growth laws are recovered from noisy synthetic curves; a garbage plateau does not speak for the growth."""

import numpy as np
import pytest

from recycle_jax.drift.growth import growth
from recycle_jax.drift.laws import best_law, evaluate
from recycle_jax.drift.monitor import log_spaced

FRAMES = log_spaced(1024, dense=16)
N = FRAMES.astype(np.float64)
E_MAX = 0.01


def noisy_seeds(curve, spread=0.3, rollouts=32, seeds=3):
    rng = np.random.default_rng(0)
    shape = (len(curve), rollouts)
    return [curve[:, None] * np.exp(spread * rng.standard_normal(shape)) for _ in range(seeds)]


def elect(curve):
    return growth(FRAMES, noisy_seeds(curve), E_MAX, np.random.default_rng(1), resamples=20)


@pytest.mark.parametrize(
    ("curve", "law", "params"),
    [
        (4e-4 * 1.005**N, "exponential", {"E0": 4e-4, "eps": 0.005}),
        (4e-4 + 2e-5 * N, "linear", {"E0": 4e-4, "alpha": 2e-5}),
        (1e-3 - 6e-4 * 0.98**N, "saturating", {"E0": 4e-4, "Einf": 1e-3, "rho": 0.98}),
        (0.05 - 0.049 * 0.97**N, "saturating_above_band", {"Einf": 0.05, "rho": 0.97}),
        (np.full_like(N, 4e-4), "saturating", {"E0": 4e-4, "Einf": 4e-4}),
    ],
    ids=["exponential", "linear", "saturating", "saturating_above_band", "flat"],
)
def test_a_law_is_recovered_with_its_parameters(curve, law, params):
    found = elect(curve)
    assert found["law"] == law, found
    assert found["votes"][law] >= 0.9, f"the law is right but shaky: {found['votes']}"
    assert sum(found["votes"].values()) == pytest.approx(1.0)
    for name, value in params.items():
        assert found["params"][name] == pytest.approx(value, rel=0.1), (name, found)
        assert name in found["ci95"], found
    assert found["fit_frames"] == [1, 1024]


@pytest.mark.parametrize("rate", [1.05, 1.1, 1.4])
@pytest.mark.parametrize("knee", ["hard", "logistic"])
def test_growth_into_a_garbage_plateau_is_fitted_before_the_plateau(rate, knee):
    free, ceiling = 4e-4 * rate**N, 0.5
    curve = np.minimum(free, ceiling) if knee == "hard" else 1.0 / (1.0 / free + 1.0 / ceiling)
    found = elect(curve)
    last = found["fit_frames"][1]
    assert found["law"] == "exponential", found
    assert found["params"]["eps"] == pytest.approx(rate - 1.0, rel=0.1), found
    assert curve[last >= FRAMES].max() <= 0.25 * ceiling, f"the fit runs into the plateau: up to frame {last}"
    assert found["n_max"] == pytest.approx(np.log(E_MAX / 4e-4) / np.log(rate), rel=0.1)


def test_n_max_is_where_a_line_leaves_the_band_and_none_where_it_saturates_inside():
    line, inside = elect(4e-4 + 2e-5 * N), elect(1e-3 - 6e-4 * 0.98**N)
    assert line["n_max"] == pytest.approx((E_MAX - 4e-4) / 2e-5, rel=0.05)
    assert line["ci95"]["n_max"][0] <= line["n_max"] <= line["ci95"]["n_max"][1]
    assert inside["n_max"] is None


def test_a_few_garbage_rollouts_do_not_elect_the_law():
    seeds = noisy_seeds(1e-3 - 6e-4 * 0.98**N)
    seeds[0][:, :6] = 0.5
    found = growth(FRAMES, seeds, E_MAX, np.random.default_rng(1), resamples=20)
    assert found["law"] == "saturating", found


def test_too_few_frames_leave_the_law_undetermined():
    found = growth(FRAMES[:4], [np.ones((4, 8))], E_MAX, np.random.default_rng(0), resamples=5)
    assert (found["law"], found["n_max"], found["fit_frames"]) == ("undetermined", None, None)


def test_a_fitted_law_evaluates_to_its_curve():
    curve = 4e-4 + 2e-5 * N
    np.testing.assert_allclose(evaluate(best_law(FRAMES, curve), FRAMES), curve, rtol=1e-3)
