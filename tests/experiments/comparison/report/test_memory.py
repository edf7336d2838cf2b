"""The table of memory."""

import pytest

from experiments.comparison.report.memory import at, memory_grid
from experiments.comparison.report.page import extras


def told(*correlation, spread=1.0):
    frames = [8 * 2**i for i in range(len(correlation))]
    return {"frames": frames, "correlation": list(correlation), "spread": [spread] * len(frames), "rollouts": [9, 9]}


@pytest.fixture
def remembered(made):
    late = {0: 0.75, 1: 0.25}
    remembering = [made.cell("b", seed, memory=told(0.9, 0.5, 0.4, of, 0.1, spread=0.5)) for seed, of in late.items()]
    return made.results([*remembering, made.cell("b_plus", 0)])


def test_means_over_seeds_are_shown_early_and_at_the_end(remembered):
    section = memory_grid(remembered).sections[0]
    assert [[entry.main for entry in row] for row in section.rows] == [
        ["teacher forcing (B)", "0.50", "0.10", "0.50", "128"]
    ]


def test_seeds_without_rollouts_left_are_left_out():
    assert at([told(0.5), told(0.3, None)], "correlation", 8) == "0.40"
    assert at([told(0.5), told(0.3, None)], "correlation", 16) == "–"


def test_the_page_has_the_section_only_where_memory_was_measured(results, remembered, tmp_path):
    assert [block.anchor for block in extras(remembered, tmp_path).sections] == ["memory"]
    assert extras(results, tmp_path).sections == []
