"""The committed summary: small, and enough for every published table."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.comparison import summarise
from experiments.comparison.cell_store import take_over
from experiments.comparison.cells import median_exit, survival, survivors
from experiments.comparison.report.answer import comparison_grid
from experiments.comparison.report.overview import overview_grid
from recycle_jax.io.workdir import open_workdir
from recycle_jax.report.grid import as_markdown

RESULTS = Path(summarise.__file__).parent.parent / "results"
STARTS = {"digit": [0, 1], "change": [0.1, 0.2]}


@pytest.fixture
def full(made):
    methods, memory = ("b", "b_plus", "recycle"), {"frames": [8, 64, 1024]}
    memory |= {"correlation": [0.9, 0.5, None], "spread": [1.0, 0.8, 0.6], "rollouts": [16, 16, 9]}
    probes = {"frames": [1, 4], "responses": {"blur": [0.5, 0.25]}, "diversity": 0.1}
    cells = [
        made.cell(method, seed, world=world, memory=memory, probes=probes)
        for method in methods
        for seed in (0, 1)
        for world in ("bouncing_balls", "heartbeat")
    ]
    return made.results(cells, {"bouncing_balls": made.bands, "heartbeat": made.bands})


@pytest.fixture
def small(full, monkeypatch):
    monkeypatch.setattr(summarise, "shapes_of_starts", lambda rows: STARTS)
    return json.loads(json.dumps(summarise.summarised(full)))


def test_tables_of_the_summary_are_those_of_the_full_file(full, small):
    for grid in (overview_grid, comparison_grid):
        assert as_markdown(grid(small)) == as_markdown(grid(full))


def test_a_cell_keeps_who_survived_and_the_median_exit(full, small):
    for whole, cell in zip(full["cells"], small["cells"], strict=True):
        assert survivors(cell).tolist() == whole["rollouts"]["censored"]
        assert (median_exit(cell), survival(cell)) == (median_exit(whole), survival(whole))
        assert cell["memory"] == {"frames": [64, 1024], "correlation": [0.5, None], "spread": [0.8, 0.6]}
        assert cell["probes"]["responses"] == {"blur": [0.25]} and "curves" not in cell


def test_survivors_of_the_first_starts_are_not_lost():
    flags = [False, False, True, False, True]
    cell = {"rollouts": {"survivors": summarise.survivors_as_text(flags), "count": 5, "median_exit": 8.0}}
    np.testing.assert_array_equal(survivors(cell), flags)


def test_a_summary_has_less_and_says_where_the_rest_is(small, full):
    assert len(json.dumps(small)) < 0.2 * len(json.dumps(full)), "a summary that is not much smaller"
    assert small["full"].startswith("git show 20ea5f4:") and small["starts"] == {"digits": STARTS}
    assert set(small) >= {"schema_version", "bands", "headline", "summary", "cells"}


def test_no_run_goes_on_from_a_summary(small, tmp_path):
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(small))
    with pytest.raises(ValueError, match="is a summary, which no run can go on from"):
        take_over(path, open_workdir(tmp_path / "run", {}), "small", 1024)


def test_the_command_names_its_arguments():
    with pytest.raises(SystemExit, match="FULL.json OUT.json"):
        summarise.main(["only.json"])


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.json")), ids=lambda path: path.name)
def test_committed_result_files_are_small(path):
    assert path.stat().st_size < 1_000_000, f"{path} is above 1 MB: commit what `summarise` makes of it"
