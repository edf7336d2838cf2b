"""Tables and their words: numbers, bounds, laws, causes, filmstrips."""

import io
import math

import numpy as np
import pytest
from rich.console import Console

from recycle_jax.report import details, wording
from recycle_jax.report.build import print_table
from recycle_jax.report.failures import failures, rollout_failures
from recycle_jax.report.filmstrips import TILE, Filmstrip, columns, draw
from recycle_jax.report.grid import Column, Entry, Grid, Section, as_html, as_markdown
from recycle_jax.report.labels import Label, Labels
from recycle_jax.report.tables import html_table, markdown_table, summary_table
from recycle_jax.report.tasks import split
from tests.report.made import LABELS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.031249, "0.0312"),
        (1024, "1,020"),
        (4.1e-5, "4.10×10⁻⁵"),
        (0.99999, "1.00"),
        (3.2e9, "3.20×10⁹"),
        (-2.0, "-2.00"),
        (0, "0"),
        ("Infinity", "∞"),
        ("-Infinity", "-∞"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_numbers_have_few_digits(value, text):
    assert wording.short(value) == text


def test_bounds_are_written_as_bounds():
    seen = {"median": 1024.0, "lower_bound": True, "ci95": [512.0, 1024.0], "max_frames": 1024}
    assert wording.horizon(seen) == "≥ 1,024"
    assert wording.horizon_interval(seen) == "512 to ≥ 1,024"
    assert wording.horizon_interval(seen | {"ci95": [1024.0, 1024.0]}) == "≥ 1,024"
    assert wording.horizon(seen | {"median": 40.0, "lower_bound": False}) == "40"
    assert (wording.horizon(None), wording.horizon_interval({})) == ("–", "")


def test_per_cent_never_rounds_a_few_to_none():
    assert [wording.percent(x) for x in (0, 0.001, 0.5, 0.999, 1, None)] == [
        "0 %",
        "<1 %",
        "50 %",
        ">99 %",
        "100 %",
        "–",
    ]


def test_units():
    assert (wording.flops(1.5e13), wording.size(2**26), wording.duration(93.7)) == (
        "15.0 TFLOP",
        "64.0 MiB",
        "94 s",
    )
    assert (wording.times(1.476), wording.times(26.1), wording.times(None)) == ("1.48×", "26×", "–")


def test_every_method_stands_in_every_table_losers_included(results, made):
    texts = (markdown_table(results, LABELS), html_table(results, LABELS))
    for text in texts:
        positions = [text.index(LABELS.known[method].name) for method in made.methods]
        assert positions == sorted(positions), "methods are not in their usual order"
        assert "≥ 1,024" in text and "saturates in band" in text
    row = next(line for line in texts[0].splitlines() if line.startswith("| noise augmentation"))
    assert "erasing 100 %" in row and "1.50×" in row and "3 × 16" in row and "4.1×10⁻⁴" in row


@pytest.mark.parametrize("width", [80, 150])
def test_the_console_table_fits_and_keeps_words_whole(results, width):
    out = io.StringIO()
    print_table(results, LABELS, Console(file=out, width=width, force_terminal=True, no_color=True))
    text = out.getvalue()
    assert "…" not in text and "≥ 1,024" in text
    assert ("tuning" in text) == (width == 150)


def test_the_console_table_has_a_width_that_logs_and_notebooks_show_where_output_is_a_file(results, made):
    out = io.StringIO()
    print_table(results, LABELS, Console(file=out, width=60))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100 and "\N{HORIZONTAL ELLIPSIS}" not in out.getvalue()
    assert any("compute" in line for line in lines) and not any("tuning" in line for line in lines)
    assert summary_table(results, LABELS, brief=True).row_count == len(made.methods) + 1


def test_causes_have_sides_where_the_curve_says_so(results):
    bands = results["bands"]["bouncing_balls"]
    by_method = {cell["method"]: cell for cell in results["cells"]}
    assert failures([by_method["noise"]], bands) == {"erasing": 1.0}
    assert failures([by_method["b"]], bands) == {"off-manifold": 1.0, "jitter": 1.0}
    assert failures([by_method["recycle"]], bands) == {}


def test_causes_without_a_curve_of_each_rollout_have_no_side(made):
    cell = made.cell("noise", 0)
    del cell["curves"]["retention"]["rollouts"]
    assert {name for row in rollout_failures(cell, None) for name in row} == {"retention, side unknown"}


def test_causes_are_taken_from_a_cell_that_was_made_smaller(made):
    cell = made.cell("noise", 0)
    causes = cell["rollouts"]["cause"]
    small = {
        **cell,
        "curves": {},
        "rollouts": {**cell["rollouts"], "failure": ["freezing+blur"] + [""] * (len(causes) - 1)},
    }
    assert rollout_failures(small, None) == [["freezing", "blur"]] + [[]] * (len(causes) - 1)


def test_laws_are_told_in_words(results):
    growths = {split(entry)[1]: value["growth"] for entry, value in results["summary"].items()}
    assert details.law_in_words(growths["b"]).startswith("grows by 15 % a frame; reaches the edge of the real band")
    assert "inside the real band" in details.law_in_words(growths["recycle"])
    assert "above the real band" in details.law_in_words({"law": "saturating_above_band", "params": {"Einf": 0.3}})
    assert "grows by 0.20 a frame" in details.law_in_words({"law": "linear", "params": {"alpha": 0.2}, "n_max": None})
    assert details.law_in_words({}) == "too few points for a law"


def test_costs_leave_out_what_nobody_measured(results):
    titles = [column.title for column in details.costs_grid(results, LABELS).columns]
    assert "harvest" in titles and "selection" not in titles


def test_ids_without_a_label_come_last_with_a_look_of_their_own():
    shown = Labels(known={"b": Label(name="base", colour="#111111", marker="o")}).of(
        ["truth", "stranger", "puzzle", "b"]
    )
    assert [label.name for label in shown.values()] == ["real video", "base", "puzzle", "stranger"]
    drawn = [(label.colour, label.marker) for label in shown.values()]
    assert len(set(drawn)) == len(drawn), "two generators look alike"


def test_an_id_keeps_its_look_whoever_is_shown_beside_it():
    labels = LABELS.covering(["x", "y", "b+0.1"])
    assert labels.of(["y"])["y"] == labels.of(["x", "y"])["y"]
    assert labels.named("b+0.1") == "teacher forcing, 0.1 × B on top"
    assert list(labels.of(["y", "b+0.1", "b"])) == ["b", "b+0.1", "y"]


def test_a_table_escapes_and_checks_its_rows():
    sections = [Section(title="<i>", rows=[[Entry(main="a|b"), Entry(main="<b>", detail="1 to 2")]])]
    grid = Grid(columns=[Column(title="x", number=False), Column(title="y")], sections=sections)
    assert "<b>" not in as_html(grid) and "&lt;i&gt;" in as_html(grid)
    assert as_markdown(grid).splitlines()[-1] == "| a\\|b | <b> (1 to 2) |"
    with pytest.raises(ValueError, match="1 fields for 2 columns"):
        Grid(columns=grid.columns, sections=[Section(title="", rows=[[Entry(main="a")]])])


def test_a_name_of_another_form_is_refused():
    with pytest.raises(ValueError, match="WORLD/GENERATOR/METHOD"):
        split("recycle")
    task, method = split("balls/flow/b@three balls@10000")
    assert (method, task.title) == ("b", "balls · flow · shown three balls · 10,000 frames")
    assert task.stem == "balls-flow-three-balls-10000"


def test_filmstrips_enlarge_without_smoothing():
    assert columns(1024) == [1, 4, 16, 64, 256, 1024] and columns(300) == [1, 4, 16, 64, 256] and columns(1) == [1]
    board = np.indices((1, 16, 16, 1)).sum(axis=0) % 2 * 2.0 - 1.0
    image = np.asarray(draw(Filmstrip(title="board", numbers=[1, 4], rows={"recycle": board, "truth": board}), LABELS))
    values, counts = np.unique(image.reshape(-1, 3)[:, 0], return_counts=True)
    assert {0, 255} <= set(values)
    scale = round(TILE / 16)
    assert counts[values == 0][0] == 2 * 16 * 16 // 2 * scale**2, "half of the pixels of two boards are black"


def test_a_filmstrip_that_cannot_be_drawn_is_refused():
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="2 columns"):
        Filmstrip(title="t", numbers=[1, 4], rows={"b": frames})
    with pytest.raises(ValueError, match="no rows"):
        Filmstrip(title="t", numbers=[1, 4], rows={})
