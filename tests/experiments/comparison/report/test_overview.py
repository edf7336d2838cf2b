"""Horizons at a glance."""

import pytest

from experiments.comparison.report.overview import measured, overview_grid


def entry(median, kept=0.0, bound=False):
    return {"horizon_frames": {"median": median, "censored_fraction": kept, "lower_bound": bound}}


@pytest.fixture
def results():
    summary = {
        "balls/flow/b_plus": entry(64),
        "balls/flow/ours": entry(1024, 0.9, True),
        "road/flow/b_plus": entry(0),
        "road/flow/ours": entry(32),
        "road/flow/noise": entry(16),
    }
    return {"summary": summary, "bands": {"balls": {"window": 8}, "road": {"window": 8}}}


def rows(results):
    return {row[0].main: row[1:] for row in overview_grid(results).sections[0].rows}


def test_every_method_has_a_row_and_every_task_a_column(results):
    grid = overview_grid(results)
    assert [column.title for column in grid.columns] == ["method", "balls · flow", "road · flow", "times B+"]
    ours = rows(results)["error recycling (final)"]
    assert [field.main for field in ours[:2]] == ["≥ 1,024", "32"] and ours[0].detail == "90 % survive"
    assert rows(results)["noise augmentation"][0].main == "–"


def test_the_ratio_is_the_geometric_mean_over_shared_tasks(results):
    """16 times on one task, 4 times on the other, where a horizon of 0 counts as a window."""
    found = rows(results)
    assert (found["error recycling (final)"][2].main, found["noise augmentation"][2].main) == ("≥ 8.00×", "2.00×")
    assert found["noise augmentation"][2].detail == "1 of 2 tasks"


def test_what_was_trained_for_another_domain_has_its_own_table(results):
    """The ball was trained on slow ones and shown fast ones; `@2048` is the same generator, watched for longer."""
    results["summary"] |= {"road/flow/ours@2048": entry(32), "balls/flow/ours@fast": entry(5)}
    assert [task.world for task in measured(results)] == ["road"]


def test_one_task_needs_no_overview(results):
    results["summary"] = {name: value for name, value in results["summary"].items() if name.startswith("balls")}
    assert overview_grid(results) is None
