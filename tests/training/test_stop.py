"""When recycling stops paying: curves of horizon against cost, smooth, noisy and broken."""

import math

import numpy as np
import pytest

from recycle_jax.training.stop import PricedRound, Stop

pytestmark = pytest.mark.fast


def rounds(values, cost=1.0):
    return [PricedRound(cost=cost, value=value) for value in values]


def stops_after(rule, history):
    """The number of rounds after which the rule first says stop, None if never."""
    return next((n for n in range(1, len(history) + 1) if rule.verdict(history[:n]).stop), None)


def saturating(n, ceiling=100.0, tau=4.0):
    return ceiling * (1.0 - np.exp(-np.arange(n) / tau))


def test_it_stops_where_a_saturating_curve_falls_below_the_price():
    rule = Stop(price=2.0, smooth=1, patience=3)
    values = saturating(40)
    first_unpaid = 1 + next(i for i in range(1, 40) if values[i] - values[i - 1] < 2.0)
    assert stops_after(rule, rounds(values)) == first_unpaid + 2
    assert stops_after(rule, rounds(values[: first_unpaid + 1])) is None


def test_a_dearer_round_must_bring_more():
    values = saturating(40)
    cheap, dear = (stops_after(Stop(price=2.0), rounds(values, cost=cost)) for cost in (0.5, 2.0))
    assert dear < cheap


def test_a_drift_is_judged_as_its_mirror_image():
    values = saturating(40)
    falling = Stop(price=2.0, higher=False)
    assert stops_after(falling, rounds(-values)) == stops_after(Stop(price=2.0), rounds(values))


@pytest.mark.parametrize("seed", range(5))
def test_noise_neither_stops_a_gain_nor_prolongs_a_standstill(seed):
    noise = np.random.default_rng(seed).normal(size=60)
    steady = np.arange(60.0) + 0.3 * noise
    assert stops_after(Stop(price=0.3, patience=4), rounds(steady)) is None
    flat = np.where(np.arange(60) < 6, 10.0 * np.arange(60), 60.0) + 0.5 * noise
    assert 9 <= stops_after(Stop(price=1.0), rounds(flat)) <= 13


def test_one_lucky_measurement_is_not_believed():
    values = [10.0, 11.0, 12.0, 90.0, 12.0, 12.0, 12.0, 12.0]
    assert max(Stop(price=0.1).best(rounds(values))) == 12.0
    assert stops_after(Stop(price=0.1), rounds(values)) is not None


def test_a_collapse_does_not_pay_and_a_value_that_is_no_number_is_the_worst():
    rule = Stop(price=1.0, smooth=1)
    values = [1.0, 5.0, 9.0, math.nan, -math.inf, 3.0]
    assert rule.best(rounds(values)) == [1.0, 5.0, 9.0, 9.0, 9.0, 9.0]
    assert stops_after(rule, rounds(values)) == 6
    never = rounds([math.nan] * 6)
    assert rule.verdict(never).stop and rule.best(never)[-1] == -math.inf
    assert not rule.verdict([*never, *rounds([1.0])]).stop, "the first finite value pays for everything"


def test_never_before_the_least_number_of_rounds():
    assert stops_after(Stop(price=1.0, least=8), rounds([5.0] * 12)) == 8
    assert stops_after(Stop(price=1.0, least=1, patience=3), rounds([5.0] * 12)) == 4
    assert "3 of the first 8 rounds" in Stop(price=1.0, least=8).verdict(rounds([5.0] * 3)).reason


def test_with_no_price_any_gain_pays_and_none_does_not():
    assert stops_after(Stop(price=0.0), rounds(np.arange(20.0))) is None
    assert stops_after(Stop(price=0.0), rounds([1.0] * 20)) == 5


def test_the_reason_names_the_numbers():
    values = [10.0, 40.0, 60.0, 61.0, 61.5, 61.5]
    verdict = Stop(price=5.0, smooth=1).verdict(rounds(values, cost=0.5))
    assert verdict.stop
    for said in ("rounds 4 to 6", "cost 1.5", "from 60 to 61.5", "1 a unit of cost", "5 pays", "last 3 rounds"):
        assert said in verdict.reason, verdict.reason
    verdict = Stop(price=5.0, smooth=1).verdict(rounds(values[:5], cost=0.5))
    assert not verdict.stop and verdict.reason.startswith("go on: round 3 cost 0.5 and moved the best from 40 to 60")


@pytest.mark.parametrize("fields", [{"price": -1.0}, {"price": 1.0, "patience": 0}, {"price": 1.0, "smooth": 0}])
def test_rules_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match="price=|patience=|smooth="):
        Stop(**fields)


@pytest.mark.parametrize("cost", [0.0, -1.0, math.nan, math.inf])
def test_a_round_costs_something(cost):
    with pytest.raises(ValueError, match="added to the bill"):
        PricedRound(cost=cost, value=1.0)
