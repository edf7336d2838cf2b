"""Labels of the comparison."""

from experiments.comparison.labels import LABELS, METHODS


def test_colours_and_markers_are_each_method_s_own():
    shown = LABELS.of([*METHODS, "puzzle", "stranger"])
    assert list(shown)[-2:] == ["puzzle", "stranger"]
    drawn = [(label.colour, label.marker) for label in shown.values()]
    assert len(set(drawn)) == len(drawn), "two methods look alike"
