"""Horizons against cost."""

from experiments.comparison.report.cost import cost_curves, cost_plot
from recycle_jax.report.plots import MOST_NAMED


def test_a_cost_plot_of_many_methods_names_the_foremost():
    points = {"b": [(1.0, 8.0, 4.0, 16.0)], "b_plus": [(1.45, 16.0, 8.0, 32.0)]}
    points |= {f"m{place}": [(1.45, 100.0 + place, 50.0, 200.0)] for place in range(40)}
    figure = cost_plot(points, 1024)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels[-2:] == ["32 others", "frames watched"] and len(labels) == MOST_NAMED + 2
    assert "m39" in labels and "m0" not in labels


def test_lengths_of_one_method_make_one_curve(made):
    results = made.results(
        [made.cell("b", 0), made.cell("recycle", 0), {**made.cell("recycle", 0), "method": "recycle+0.1"}]
    )
    (curve,) = cost_curves(results["summary"])
    assert set(curve.points) == {"b", "recycle"} and len(curve.points["recycle"]) == 2
    assert curve.max_frames == made.last
