"""When recycling stops paying: scores that fall, level out, rise or are no numbers."""

import pytest

from recycle_jax.training.stop import StopWhenIdle

pytestmark = pytest.mark.fast


def stops_after(scores, **rule):
    """The number of rounds after which the run ends, None if never."""
    watch = StopWhenIdle(**rule)
    return next((n for n, score in enumerate(scores, 1) if watch(None, {"score": score})), None)


@pytest.mark.parametrize(
    ("scores", "rounds"),
    [
        ([1.0 / n for n in range(1, 20)], None),
        ([1.0, 0.5, 0.49, 0.495, 0.6, 0.4], 5),
        ([1.0, 2.0, 3.0, 4.0], 4),
        ([float("nan"), 1.0, float("inf"), 1.0, 1.0], 5),
        ([float("nan")] * 4, 4),
    ],
    ids=["falls", "levels out", "rises", "begins with no number", "no numbers"],
)
def test_it_ends_where_the_newest_rounds_lowered_the_best_score_too_little(scores, rounds):
    assert stops_after(scores, min_gain=0.05, patience=3) == rounds


def test_the_watch_inside_is_asked_first_and_rounds_without_a_harvest_are_passed_over():
    seen = []
    watch = StopWhenIdle(watch=lambda state, harvest: seen.append(state), patience=1)
    assert [watch(n, harvest) for n, harvest in enumerate([{}, {"score": 1.0}, {}])] == [None] * 3
    assert "best score 1 by less than 2.00%" in watch(3, {"score": 1.0}) and seen == [0, 1, 2, 3]
    assert StopWhenIdle(watch=lambda state, harvest: "enough")(None, {"score": 1.0}) == "enough"
    with pytest.raises(ValueError, match="patience 0"):
        StopWhenIdle(patience=0)
