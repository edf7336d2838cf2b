"""The comparison's own rules: which settings go on, what is counted, what is refused."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.comparison.baselines.relay import Relay
from experiments.comparison.builders import (
    SLOW,
    at_temperature,
    by_recipe,
    flows_only,
    from_half_of_b,
    ours,
    with_learning_rate,
)
from experiments.comparison.cell_store import cell_path
from experiments.comparison.domains import CROWDED, STOCHASTIC, WORLDS, things_in
from experiments.comparison.evaluation import Judging
from experiments.comparison.method import Method, registered
from experiments.comparison.methods import RELAY, SCREENED, TABLE
from experiments.comparison.phases import Job, beginning_at
from experiments.comparison.runner import Share
from experiments.comparison.suite import COMPARED, Config, _tasks, retired_cells, smoke
from experiments.comparison.task import Budget, Trained
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.histories.recipe import recycle
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import write_json
from recycle_jax.models.base import Network
from recycle_jax.training.cost import Cost

RESULTS = Path(__file__).parents[3] / "experiments" / "results"


@dataclasses.dataclass(frozen=True)
class Place:
    world: str
    kind: str
    generator: Any = None
    choices: Any = None
    recycling: Any = None
    budget: Any = None


PLACES = (Place("balls", "predictor"), Place("balls", "flow"))


def test_what_is_taken_apart_is_the_chosen_recipe():
    """Parts and controls see frames moved once and a cooled flow, as `ours` does."""
    flow = RectifiedFlow(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    config = Config()
    job = Job(
        task=Place("balls", "flow", generator=flow, choices=config.choices, recycling=config.recycling),
        start=lambda: None,
        seed=0,
        observing=None,
        base_of=None,
        base_after=None,
    )
    seen = []
    spy = Method(run=lambda job: seen.append(job.task) or Trained(params={}, cost=Cost()))
    trained = by_recipe(spy, SLOW, begins=1.0, temperature=0.5).run(job)
    assert (seen[0].choices.velocity_damping, seen[0].choices.flow_velocity_damping) == (None, None)
    assert seen[0].generator == trained.generator == dataclasses.replace(flow, temperature=0.5)
    assert by_recipe(Method(run=spy.run, refuses=flows_only)).refuses(PLACES[0])
    assert {"noise", "stale", "b_plus", "relay_early:fast"} <= COMPARED
    assert not {"ours", "real", "copy_last", "dagger", "recycle_continued"} & COMPARED


def test_the_chosen_setting_is_the_recipe_with_its_defaults():
    """What `ours` makes of a task is `histories.recycle()` and nothing else, its rate included."""
    network = Network(init=lambda key: {}, apply=None)
    seen, usual = [], recycle()
    spy = Method(run=lambda job: seen.append(job.task) or Trained(params={}, cost=Cost()))
    makers = {"predictor": Predictor, "flow": RectifiedFlow}
    for kind, maker in makers.items():
        config = Config()
        generator = maker(network=network, context_frames=2)
        shared = {"generator": generator, "choices": config.choices, "recycling": config.recycling}
        place = Place("balls", kind, budget=config.budget, **shared)
        none = {"start": lambda: None, "base_of": None, "base_after": lambda *_, **rate: None}
        job = Job(task=place, seed=0, observing=None, **none)
        ours(spy, begins=1.0, temperature=usual.temperature).run(job)
        assert seen[-1].recycling == usual.recycling and registered(seen[-1]) == usual.reference
        rates = {"base_rate": usual.learning_rate, "tune_rate": usual.learning_rate}
        assert seen[-1].budget == dataclasses.replace(config.budget, **rates)


def test_a_remedy_that_begins_early_costs_the_same():
    """Half of B's updates, and what they save on top of the extra budget; B is trained for that many."""
    budget = Budget(base=1000, extra=0.45)
    place = Place("balls", "predictor", budget=budget)
    trained = Trained(params={}, cost=Cost(updates=500))
    asked = []
    job = Job(
        task=place,
        start=lambda: None,
        seed=0,
        observing=None,
        base_of=None,
        base_after=lambda updates, policy: asked.append((updates, policy)) or trained,
    )
    begun = beginning_at(job, 0.5)
    assert asked == [], "nobody has asked for a B yet"
    assert begun.base is begun.base is trained and asked == [(500, TeacherForcing())]
    assert begun.task.budget.base * (1.0 + begun.task.budget.extra) == pytest.approx(1450.0)
    assert beginning_at(job, 1.0) is job, "the whole B is there already"
    seen = []
    spy = Method(run=lambda job: seen.append(job) or Trained(params={}, cost=Cost()))
    job = dataclasses.replace(job, task=dataclasses.replace(place, generator="a predictor"))
    from_half_of_b(at_temperature(spy, 0.0)).run(job)
    assert seen[-1].base is trained and seen[-1].task.budget == begun.task.budget
    assert seen[-1].task.generator == "a predictor", "which draws nothing anyway"


def test_a_remedy_at_another_rate_differs_in_nothing_else():
    """B, or what is in its place, is trained at that rate too, once it is asked for; or not, where only ours is."""
    place, asked = Place("balls", "predictor", budget=Budget(base=1000)), []
    after = lambda *what, **more: asked.append((*what, more))  # noqa: E731
    job = Job(task=place, start=lambda: "slow", seed=0, observing=None, base_of=None, base_after=after)
    seen = []
    spy = Method(run=lambda job: seen.append(job) or Trained(params={}, cost=Cost()), refuses=flows_only, setting="x")
    rate = recycle().learning_rate
    faster = with_learning_rate(spy)
    faster.run(job)
    budget = dataclasses.replace(place.budget, base_rate=rate, tune_rate=rate)
    assert seen[0].task == dataclasses.replace(place, budget=budget) and asked == []
    assert seen[0].base is None and asked == [(1000, TeacherForcing(), {"rate": rate})]
    assert beginning_at(seen[0], 0.5).base is None and asked[1:] == [(500, TeacherForcing(), {"rate": rate})]
    assert dataclasses.replace(faster, run=spy.run) == spy


def test_a_relay_takes_the_place_of_b():
    """What the recipe began with until its chains ended, at B's price; a policy that costs more is refused."""
    asked = []
    generator = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    config = Config()
    place = Place(
        "balls",
        "predictor",
        generator=generator,
        budget=Budget(base=1000),
        choices=config.choices,
        recycling=config.recycling,
    )
    job = Job(
        task=place,
        start=lambda: Trained(params={}, cost=Cost()),
        seed=0,
        observing=None,
        base_of=None,
        base_after=lambda updates, policy: asked.append((updates, policy)) or Trained(params={}, cost=Cost()),
    )
    spy = Method(run=lambda job: job.base)
    by_recipe(spy, SLOW, first=RELAY, temperature=0.0).run(job)
    assert asked == [(500, Relay(max_age=8, capacity=2048))]
    with pytest.raises(ValueError, match="Pushforward costs 1.33 of teacher forcing's"):
        beginning_at(job, 0.5, Pushforward(steps=1))


def test_settings_and_trials_are_those_of_the_published_results():
    settings = json.loads((RESULTS / "compare.json").read_text())["settings"]
    assert {name: method.setting for name, method in TABLE.items() if method.setting} == settings
    assert set(SCREENED) == set(settings)


def test_cells_of_methods_that_are_no_longer_run_stay(tmp_path):
    workdir = open_workdir(tmp_path, {})
    for method in ("ours", "ours:told", "b+0.1"):
        write_json(cell_path(workdir, "balls", "flow", method, 0), {"method": method})
    assert [cell["method"] for cell in retired_cells(workdir, TABLE)] == ["ours:told"]


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown method 'pushforwrd'; nearest: pushforward"):
        Config(methods=("pushforwrd",))
    with pytest.raises(ValueError, match=r"unknown worlds \['bals'\]: there are balls"):
        Config(worlds=("bals",))
    assert "ours" in smoke().config.methods


def test_predictors_are_spared_worlds_of_chance():
    places = [make() for make in _tasks(Config(), Judging(max_frames=16, rollouts=4))]
    kinds = {name: [p.kind for p in places if p.world == name] for name in (*WORLDS, *STOCHASTIC, *CROWDED)}
    assert all(kinds[name] == ["predictor", "flow"] for name in (*WORLDS, *CROWDED))
    assert [things_in(world) for world in (*WORLDS.values(), *CROWDED.values())] == [1, 1, 1, 1, 2, 2]
    assert all(kinds[name] == ["flow"] for name in STOCHASTIC)
    assert all(world.deterministic for world in WORLDS.values())
    assert not any(world.deterministic for world in STOCHASTIC.values())


def test_a_share_takes_what_is_named():
    share = Share(methods=("noise", "ours:slow"), kinds=("flow",), parts=2, part=1)
    assert share.does("noise") and share.does("ours:slow") and not share.does("ours")
    assert share.wants(PLACES[1]) and not share.wants(PLACES[0])
    assert [share.takes(n) for n in range(4)] == [False, True, False, True] and not Share(parts=0).takes(0)
