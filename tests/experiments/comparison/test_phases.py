"""What a phase of recycling is charged for."""

from types import SimpleNamespace

import pytest

from experiments.comparison import phases


@pytest.fixture
def task(monkeypatch):
    """An update costs 1, a harvest 10, and the extra budget is 1,000."""
    for name, price in {
        "extra_flops": 1000.0,
        "_update_flops": 1.0,
        "harvest_flops": 10.0,
    }.items():
        monkeypatch.setattr(phases, name, lambda *args, price=price: price)
    for name in ("forward_calls", "history_flops", "_like"):
        monkeypatch.setattr(phases, name, lambda *args: 1.0)
    return SimpleNamespace(generator=None)


@pytest.mark.parametrize("until, harvests", [(0, 34), (40, 2), (41, 3), (5000, 34)])
def test_a_bank_that_grows_stale_pays_for_its_own_harvests_only(task, until, harvests):
    recycling = SimpleNamespace(
        chains=8, harvest_steps=2, harvest_every=20, bank=lambda: None, policy=lambda *args: None
    )
    updates = phases._updates_within(task, recycling, until)
    train, harvest = phases._recycling_flops(task, recycling, updates, until)
    assert harvest == 10.0 * harvests
    assert train + harvest == pytest.approx(1000.0, abs=10.0), "the whole budget is spent, whoever harvests"
