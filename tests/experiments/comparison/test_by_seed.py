"""Every run of a method is listed under its own seed, and a run that fails is counted."""

from experiments.comparison.by_seed import by_seed_grid, survival_by_seed


def cell(method, seed, exits, *, world="balls", frames=16):
    return {
        "world": world,
        "generator": "flow",
        "method": method,
        "seed": seed,
        "train_domain": "all",
        "eval_domain": "all",
        "max_frames": frames,
        "rollouts": {"exit_frame": exits, "censored": [left == frames for left in exits]},
    }


def results(*cells):
    return {"cells": list(cells), "summary": {f"{c['world']}/flow/{c['method']}": {} for c in cells}}


def fields(grid, method=0):
    return {column.title: entry.main for column, entry in zip(grid.columns, grid.sections[0].rows[method], strict=True)}


def test_shares_are_of_rollouts_that_reach_the_last_frame():
    cells = [cell("ours", 2, [16, 16, 8, 16]), cell("ours", 0, [16, 16, 16, 16])]
    assert survival_by_seed(cells) == {0: 1.0, 2: 0.75}


def test_runs_are_counted_over_places_and_half_lost_is_failed():
    grid = by_seed_grid(
        results(
            cell("ours", 0, [16, 16, 16, 16]),
            cell("ours", 1, [16, 16, 8, 8]),
            cell("ours", 0, [16, 16, 16, 8], world="heartbeat"),
        ),
        ["ours"],
    )
    row = fields(grid)
    assert row["balls · flow"] == "100, 50"
    assert row["heartbeat · flow"] == "75"
    assert (row["runs"], row["that fail"], row["worst run"]) == ("3", "1", "50 %")


def test_a_seed_that_was_not_run_keeps_its_place():
    grid = by_seed_grid(results(cell("ours", 0, [16, 16]), cell("ours", 2, [16, 8])), ["ours"])
    assert fields(grid)["balls · flow"] == "100, –, 50"


def test_methods_without_cells_and_rollouts_of_another_length_are_left_out():
    long = cell("ours", 0, [8, 8], frames=10_000)
    given = results(cell("b_plus", 0, [16, 8]), cell("ours", 0, [16, 16]), long)
    grid = by_seed_grid(given, ["relay", "b_plus", "ours"])
    assert len(grid.sections[0].rows) == 2
    assert fields(grid, 0)["worst run"] == "50 %"
    assert (fields(grid, 1)["runs"], fields(grid, 1)["worst run"]) == ("1", "100 %")
