"""The table of video of an unseen domain."""

import pytest

from experiments.comparison.report.domains import domains_grid
from experiments.comparison.report.page import extras


def entry(median, bound=False):
    return {"horizon_frames": {"median": median, "lower_bound": bound, "max_frames": 1024}}


def cell(method, loss, seen="slow", shown="slow"):
    return {
        "world": "balls_slow",
        "generator": "flow",
        "method": method,
        "seed": 0,
        "train_domain": seen,
        "eval_domain": shown,
        "max_frames": 1024,
        "clean_loss": loss,
        "rollouts": {"exit_frame": [8], "censored": [False], "cause": ["motion"]},
        "curves": {},
        "cost": {},
    }


@pytest.fixture
def results():
    horizons = {"b": (16, 8), "b_plus": (40, 20), "ours": (1024, 400)}
    summary = {f"balls_slow/flow/{m}": entry(own, own == 1024) for m, (own, _) in horizons.items()}
    summary |= {f"balls_slow/flow/{m}@fast": entry(unseen) for m, (_, unseen) in horizons.items()}
    losses = {"b": 0.01, "b_plus": 0.008, "ours": 0.0104}
    cells = [
        cell(m, loss * more, shown=shown) for m, loss in losses.items() for shown, more in (("slow", 1), ("fast", 3))
    ]
    return {"summary": summary, "cells": cells, "bands": {"balls_slow": {"window": 8}}}


def row_of(grid, method):
    return next([entry.main for entry in row] for row in grid.sections[0].rows if row[0].main == method)


def test_each_method_is_compared_with_b_plus(results):
    grid = domains_grid(results)
    assert grid.sections[0].title == "balls slow · flow · unseen: fast"
    ours = row_of(grid, "error recycling (final)")
    assert ours[1:] == ["≥ 1,024", "400", "20×", "≥ 2.56×", "1.30×", "1.30×"]
    assert row_of(grid, "teacher forcing (B)")[1:4] == ["16", "8", "0.40×"]


def test_a_horizon_below_a_window_counts_as_one(results):
    results["summary"]["balls_slow/flow/b_plus@fast"] = entry(0)
    assert row_of(domains_grid(results), "error recycling (final)")[3] == "50×"


def test_there_is_no_table_without_an_unseen_domain(results):
    results["summary"] = {k: v for k, v in results["summary"].items() if "@" not in k} | {"a/flow/b@10000": entry(5)}
    assert domains_grid(results) is None


def test_the_page_has_the_table_where_there_is_one(made, tmp_path):
    own = [made.cell(method, 0, train_domain="slow", eval_domain="slow") for method in ("b", "b_plus", "recycle")]
    unseen = [made.cell(method, 0, train_domain="slow", eval_domain="fast") for method in ("b", "b_plus", "recycle")]
    assert extras(made.results(own), tmp_path).sections == []
    (block,) = extras(made.results([*own, *unseen]), tmp_path).sections
    assert block.anchor == "domains" and "unseen: fast" in block.table
