"""The plot of rounds: what stands where, and what is left out."""

import math

import numpy as np
import pytest

from experiments.comparison.report.rounds import rounds_of_cell, rounds_plot
from recycle_jax.report.plots import to_png, to_svg


def test_values_stand_at_what_was_spent_by_then():
    figure = rounds_plot([(0.5, 10.0), (0.25, 20.0), (0.25, math.nan), (1.0, 18.0)], start=1.0)
    (line,) = figure.axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [1.5, 1.75, 3.0])
    np.testing.assert_allclose(line.get_ydata(), [10.0, 20.0, 18.0])


def test_the_rules_view_and_the_stop_are_drawn_and_named():
    figure = rounds_plot([(1.0, 5.0), (1.0, 9.0), (1.0, 8.0)], [-math.inf, 9.0, 9.0], stopped=3, value_label="frames")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["best so far, smoothed", "a round", "stopped after round 3"] and axes.get_ylabel() == "frames"
    assert axes.get_lines()[-1].get_xdata()[0] == 3.0
    assert to_png(figure).startswith(b"\x89PNG") and to_svg(figure).startswith("<svg")


def test_without_a_finite_value_there_is_nothing_to_draw():
    assert rounds_plot([]) is None and rounds_plot([(1.0, math.nan)]) is None
    with pytest.raises(ValueError, match="one a round"):
        rounds_plot([(1.0, 2.0)], [])


def test_a_cell_tells_its_rounds_and_why_they_ended():
    rounds = {"cost": [0.1, 0.1], "value": [0.02, None], "best": [0.02, 0.02], "stopped": "stop: nothing gained"}
    axes = rounds_of_cell({"rounds": rounds}).axes[0]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["best so far, smoothed", "a round", "stopped after round 2"]
    (best, value, _) = axes.get_lines()
    np.testing.assert_allclose(best.get_xdata(), [1.1, 1.2])
    np.testing.assert_allclose(value.get_xdata(), [1.1])
    assert rounds_of_cell({}) is None and rounds_of_cell({"rounds": {}}) is None


def test_the_axis_ends_at_what_the_table_of_costs_says():
    """Rounds are priced in units of what came before them, here half of B, and the whole cost 1.46 times B."""
    rounds = {"cost": [0.96, 0.96], "value": [0.02, 0.01]}
    (line,) = rounds_of_cell({"rounds": rounds}, 1.46).axes[0].get_lines()
    np.testing.assert_allclose(line.get_xdata(), [0.98, 1.46], atol=1e-9)
