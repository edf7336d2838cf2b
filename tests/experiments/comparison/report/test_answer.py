"""What the comparison says in words."""

import pytest

from experiments.comparison.report.answer import answer, comparison_grid


def ratio(verdict, both=False, factor=16.0):
    return {
        "ratio": factor,
        "ci95": [8.0, 20.0],
        "verdict": verdict,
        "both_censored": both,
        "p_logrank": 0.01,
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ratio("longer"), "That is 16× as long (95 % interval 8.0 to 20)."),
        (ratio("at_least"), "at least 16×"),
        (ratio("shorter", factor=0.5), "shorter, 0.50×"),
        (ratio("at_most", factor=0.5), "shorter, at most 0.50×"),
        (ratio("tie", factor=1.1), "no clear difference, 1.10×"),
        (ratio("tie", both=True), "a tie as far as was seen"),
    ],
)
def test_an_answer_is_no_stronger_than_what_was_measured(results, row, said):
    task = "bouncing_balls/predictor"
    changed = results | {"headline": {"horizon_ratios": {task: {"recycle_over_b_plus": row}}}}
    assert said in answer(changed)
    assert comparison_grid(changed) is not None


def test_an_answer_over_several_tasks_counts_verdicts(results):
    ratios = {
        "balls/predictor": {"recycle_over_noise": ratio("longer")},
        "balls/flow": {"recycle_over_noise": ratio("shorter")},
        "heartbeat/flow": {"recycle_over_noise": ratio("tie")},
    }
    said = answer(results | {"headline": {"horizon_ratios": ratios}})
    assert "noise augmentation in 1 of 3 combinations of world and generator, shorter in 1, undecided in 1" in said


def test_of_many_rivals_those_beaten_everywhere_are_named_together():
    longer, tie = {"verdict": "longer", "ratio": 3.0}, {"verdict": "undecided", "ratio": 1.1}
    task = {f"ours_over_{rival}": longer for rival in ("b", "b_plus", "noise", "forcing")}
    ratios = {"balls/flow": {**task, "ours_over_relay": tie}, "balls/predictor": {**task, "ours_over_relay": longer}}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert "longer than 4 of 5 others wherever they were measured: teacher forcing (B);" in said
    assert "it outlasts relay (1 of 2)." in said
    assert said.endswith("It is shorter nowhere beyond doubt. The rest is undecided.")
    ratios["balls/flow"]["ours_over_relay"] = {"verdict": "tie", "ratio": 0.04}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert said.endswith("The rest is undecided; its median is the shorter one against relay (1).")
    ratios["balls/flow"]["ours_over_relay"] = {"verdict": "shorter", "ratio": 0.5}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert said.endswith("It is shorter than relay in 1. The rest is undecided.")


def test_rivals_of_few_tasks_are_counted_and_their_losses_told():
    longer, shorter = {"verdict": "longer", "ratio": 3.0}, {"verdict": "shorter", "ratio": 0.5}
    task = {f"ours_over_{rival}": longer for rival in ("b", "b_plus", "noise", "forcing")}
    ratios = {f"world{i}/flow": dict(task) for i in range(8)}
    ratios["world0/flow"] |= {"ours_over_washed": longer, "ours_over_relay": shorter}
    said = answer({"headline": {"horizon_ratios": ratios}, "summary": {}})
    assert "longer than 5 of 6 others wherever they were measured" in said
    assert "Diffusion Forcing; and 1 more that was measured in few tasks." in said
    assert "it outlasts 1 more that was measured in few tasks. It is shorter than relay in 1." in said
