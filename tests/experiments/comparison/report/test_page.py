"""What the comparison adds to the report."""

from experiments.comparison.report.page import build, extras
from recycle_jax.report.build import Media


def test_rounds_of_the_recipe_are_drawn_with_the_reason_of_their_end(made, tmp_path):
    rounds = {"cost": [0.1, 0.1], "value": [0.02, 0.01], "best": [0.02, 0.01], "stopped": "stop: nothing gained"}
    results = made.results([made.cell("b", 0), made.cell("recycle", 0, rounds=rounds)])
    (*_, block) = extras(results, tmp_path).cost
    assert block.title == "What each round of recycling brought"
    assert "stop: nothing gained" in block.pictures[0].title
    assert (tmp_path / "rounds-bouncing_balls-predictor-recycle.png").exists()


def test_the_page_has_the_comparison_s_answer_and_tables(results, tmp_path):
    page = build(results, tmp_path, Media(), question="Why?", command="python -m experiments.compare").read_text()
    assert "Compared with the rivals" in page and "sign-flip test" in page
    assert "Horizon against cost" in page and 'id="cost"' in page
    assert "at least" in page and "python -m experiments.compare" in page
