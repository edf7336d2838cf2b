"""Which settings go on, and which are judged on more worlds first."""

import dataclasses

import numpy as np

from experiments.comparison.builders import flows_only, is_deterministic
from experiments.comparison.conclusion import refusals
from experiments.comparison.method import Method
from experiments.comparison.model_selection import best_of, choose
from experiments.comparison.runner import Comparison

SEEDS = (100, 101)


@dataclasses.dataclass(frozen=True)
class Place:
    world: str
    kind: str


PLACES = (Place("balls", "predictor"), Place("balls", "flow"))


def contest(**methods):
    table = {name.replace("__", "="): method for name, method in methods.items()}
    return Comparison(
        experiment="e", preset="p", question="?", command="c", methods=tuple(table), seeds=SEEDS, table=table
    )


def cells(exits):
    """One cell for each `(method, world, kind, seed) -> exit frames`."""
    names = ("method", "world", "generator", "seed")
    return [{**dict(zip(names, key, strict=True)), "rollouts": {"exit_frame": value}} for key, value in exits.items()]


def plain():
    return Method(run=lambda job: job.base)


def everywhere(method, frames):
    return {(method, p.world, p.kind, seed): frames for p in PLACES for seed in SEEDS}


def test_the_setting_with_the_largest_geometric_mean_goes_on():
    """One setting is far ahead in one place, the other a little in all: geometric means prefer the second."""
    asked = contest(noise__a=plain(), noise__b=plain())
    exits = everywhere("noise=a", [10.0, 10.0]) | everywhere("noise=b", [30.0, 20.0])
    exits[("noise=a", "balls", "flow", 100)] = [200.0, 200.0]
    assert np.mean([np.mean(v) for k, v in exits.items() if k[0] == "noise=a"]) > 25.0
    assert choose(asked, PLACES, cells(exits)) == {"noise": "noise=b"}


def test_a_family_waits_for_all_its_cells():
    asked = contest(noise__a=plain(), noise__b=plain(), other=plain())
    exits = everywhere("noise=a", [10.0]) | everywhere("noise=b", [30.0]) | everywhere("other", [5.0])
    del exits[("noise=b", "balls", "flow", 101)]
    assert choose(asked, PLACES, cells(exits)) == {"other": "other"}


def test_places_that_a_method_cannot_serve_are_not_waited_for():
    asked = contest(resampling__a=Method(run=lambda job: job.base, refuses=lambda task: "no" * (task.kind != "flow")))
    exits = {key: value for key, value in everywhere("resampling=a", [7.0]).items() if key[2] == "flow"}
    assert choose(asked, PLACES, cells(exits)) == {"resampling": "resampling=a"}
    assert "noise levels" in flows_only(PLACES[0]) and flows_only(PLACES[1]) == ""
    assert refusals(asked, PLACES) == {"balls/predictor/resampling=a": "no"}, "results say why there is no number"


def test_a_setting_shares_its_twins_cells_where_it_does_not_differ():
    """Cooled flows last longer; on predictors there is no temperature, and the twin stands for both."""
    flow = Method(run=lambda job: job.base, refuses=is_deterministic, twin="noise=a")
    asked = contest(noise__a=plain(), noise__b=flow)
    exits = everywhere("noise=a", [10.0]) | {("noise=b", "balls", "flow", seed): [30.0] for seed in SEEDS}
    assert choose(asked, PLACES, cells(exits)) == {"noise": "noise=b"}


def test_settings_close_to_the_best_go_to_a_run_off_and_more_worlds_decide():
    asked = contest(ours__a=plain(), ours__b=plain(), ours__c=plain(), noise__a=plain(), noise__b=plain())
    frames = {"ours=a": [100.0], "ours=b": [95.0], "ours=c": [80.0], "noise=a": [50.0], "noise=b": [50.0]}
    exits = {key: value for name, each in frames.items() for key, value in everywhere(name, each).items()}
    close = best_of(asked, PLACES, cells(exits), ("ours",), 0.9)
    assert close == ("ours=a", "ours=b"), "one is too far behind, and the other family has no run-off"
    more = (*PLACES, Place("digits", "predictor"))
    rest = dataclasses.replace(asked, methods=close)
    assert choose(rest, more, cells(exits)) == {}, "without the run-off's cells the screening's choice stands"
    for name, value in (("ours=a", [10.0]), ("ours=b", [1000.0])):
        exits |= {(name, "digits", "predictor", seed): value for seed in SEEDS}
    assert choose(rest, more, cells(exits)) == {"ours": "ours=b"}


def test_nobody_runs_off_alone_or_with_missing_cells():
    asked = contest(ours__a=plain(), ours__b=plain())
    exits = everywhere("ours=a", [100.0])
    assert best_of(asked, PLACES, cells(exits), ("ours",), 0.9) == ()
    exits |= everywhere("ours=b", [10.0])
    assert best_of(asked, PLACES, cells(exits), ("ours",), 0.9) == ()
