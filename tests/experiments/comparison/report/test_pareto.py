"""All methods in one picture."""

import pytest

from experiments.comparison.report.pareto import LEGEND_ROWS, Point, front, named, pareto_plot, pareto_points


def entry(median, cost):
    return {"horizon_frames": {"median": median, "lower_bound": False}, "cost_over_B": cost}


@pytest.fixture
def results():
    summary = {
        "balls/flow/b": entry(32, 1.0),
        "balls/flow/b_plus": entry(64, 1.4),
        "balls/flow/ours": entry(1024, 1.5),
        "balls/flow/noise": entry(4096, 1.2),
        "road/flow/b": entry(16, 1.0),
        "road/flow/b_plus": entry(16, 1.4),
        "road/flow/ours": entry(64, 1.5),
        "road/flow/relay": entry(8, 1.6),
        "balls/flow/relay": entry(128, 1.6),
    }
    return {"summary": summary, "bands": {}}


def test_points_are_geometric_means_over_shared_tasks(results):
    points = pareto_points(results)
    assert (points["ours"].cost, points["ours"].times) == (pytest.approx(1.5), pytest.approx(8.0))
    assert points["ours"].complete and not points["noise"].complete
    assert next(iter(points)) == "noise"


def test_the_front_rises_with_cost_and_holds_complete_methods_only(results):
    """`noise` is higher and cheaper than all, but in one task only; `relay` costs more than what it equals."""
    assert front(pareto_points(results)) == ["b", "b_plus", "ours"]


def test_of_two_at_one_cost_the_higher_is_on_the_front(results):
    results["summary"]["balls/flow/relay"]["cost_over_B"] = results["summary"]["road/flow/relay"]["cost_over_B"] = 1.4
    results["summary"]["road/flow/relay"]["horizon_frames"]["median"] = 64
    assert front(pareto_points(results)) == ["b", "relay", "ours"]


def test_the_legend_names_every_method_and_the_front(results):
    points = pareto_points(results)
    figure = pareto_plot(points)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[0] == "Pareto front" and len(labels) == len(points) + 1
    assert "8.00× error recycling (final)" in labels


def test_of_many_methods_the_legend_names_complete_ones_first_and_counts_the_rest():
    points = {f"part:{i}": Point(cost=1.5, times=100.0 - i, complete=False) for i in range(40)}
    points |= {name: Point(cost=1.4, times=2.0, complete=True) for name in ("ours", "b_plus")}
    figure = pareto_plot(points)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(labels) == LEGEND_ROWS and labels[-1] == "20 others (see the table)"
    assert {"ours", "b_plus"} <= set(named(points)) and named(points)[0] == "part:0"


def test_a_task_with_few_of_the_methods_is_left_out(results):
    """Else no method but those few would have been measured in all tasks."""
    results["summary"] |= {f"balls/flow/part:{i}": entry(32, 1.5) for i in range(8)}
    before = pareto_points(results)
    results["summary"] |= {"rain/flow/b_plus": entry(8, 1.4), "rain/flow/ours": entry(8, 1.5)}
    results["summary"] |= {f"road/flow/part:{i}": entry(32, 1.5) for i in range(8)}
    after = pareto_points(results)
    assert after["b"].complete and after["ours"].complete and after["ours"].times == before["ours"].times


def test_one_task_has_no_picture(results):
    results["summary"] = {name: value for name, value in results["summary"].items() if name.startswith("balls")}
    assert pareto_points(results) == {} and pareto_plot({}) is None
