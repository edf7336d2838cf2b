"""The journey of a comparison: what is missing is made once, by whom it falls to, and nothing unasked."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from experiments.comparison import checkpoints as checkpoints_module
from experiments.comparison import runner
from experiments.comparison.checkpoints import Checkpoints
from experiments.comparison.method import Method
from experiments.comparison.runner import Comparison, Share, missing_cells, run_comparison
from experiments.comparison.task import Budget, Trained
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.io.workdir import open_workdir
from recycle_jax.training.cost import Cost


@dataclasses.dataclass(frozen=True)
class Still:
    """A generator of one number, whose parameters are all that is read of it."""

    def init(self, key: Any) -> Any:
        return {"w": jnp.zeros(2)}


@dataclasses.dataclass(frozen=True, eq=False)
class FakeTask:
    world: str = "balls"
    kind: str = "predictor"
    generator: Any = Still()
    budget: Budget = Budget(base=10)
    train_domain: str = "all"
    held_out: Any = None
    judge: Any = None
    long: Any = "long"
    elsewhere: Any = dataclasses.field(default_factory=dict)
    held_out_elsewhere: Any = dataclasses.field(default_factory=dict)


@pytest.fixture
def trained(monkeypatch):
    """Stands in for training, evaluation and pictures; returns who was trained, in order."""
    asked: list[tuple[str, int]] = []

    def train_base(task, seed, observing, policy=None):
        asked.append(("base", seed))
        return Trained(params={"w": jnp.full(2, float(seed))}, cost=Cost(updates=task.budget.base))

    def cell_of(task, seed, method, made, other, evaluation):
        rollouts = {"exit_frame": [float(made.params["w"][0])]}
        return {"rollouts": rollouts, "cost": {"seconds": 2.0}, "other": other is not None, "method": method}

    monkeypatch.setattr(checkpoints_module, "train_base", train_base)
    monkeypatch.setattr(runner, "cell_of", cell_of)
    monkeypatch.setattr(runner, "save_picture", lambda *_: asked.append(("picture", 0)))
    return asked


def comparison(asked, **more):
    def other(job):
        asked.append(("other", job.seed))
        return Trained(params=jax.tree.map(lambda w: w + job.task.budget.extra, job.base.params), cost=Cost())

    table = {"b": Method(run=lambda job: job.base), "other": Method(run=other)}
    table["never"] = Method(run=other, refuses=lambda task: "no")
    words = {"experiment": "test", "preset": "smoke", "question": "?", "command": "make"}
    methods = more.pop("methods", ("b", "other", "never"))
    return Comparison(**words, methods=methods, seeds=(3, 4), table=table, **more)


def test_each_method_is_trained_once_and_what_is_there_is_not_made_again(trained, tmp_path):
    workdir, asked = open_workdir(tmp_path, {}), comparison(trained, long_methods=("other",))
    assert missing_cells(asked, [FakeTask], workdir)[0] == 5
    _, cells = run_comparison(asked, [FakeTask], workdir)
    assert len(cells) == 5, "two methods of two seeds, and long rollouts of the first"
    assert trained.count(("base", 3)) == trained.count(("base", 4)) == 1, "B is trained once for all that start from it"
    assert trained.count(("other", 3)) == 1 and ("other", 4) in trained
    assert trained.count(("picture", 0)) == 2, "of the first seed alone"
    assert (missing_cells(asked, [FakeTask], workdir)) == (0, 2.0)
    before = list(trained)
    assert run_comparison(asked, [FakeTask], workdir)[1] == cells and trained == before


def test_another_model_is_trained_where_it_is_asked_for_alone(trained, tmp_path):
    cells = run_comparison(comparison(trained, methods=("b",)), [FakeTask], open_workdir(tmp_path / "a", {}))[1]
    assert not any(cell["other"] for cell in cells) and {seed for _, seed in trained} == {0, 3, 4}
    trained.clear()
    asked = comparison(trained, methods=("b",), other_model=True)
    cells = run_comparison(asked, [FakeTask], open_workdir(tmp_path / "b", {}))[1]
    assert all(cell["other"] for cell in cells) and {("base", 2003), ("base", 2004)} <= set(trained)


def test_a_share_does_its_part(trained, tmp_path):
    workdir = open_workdir(tmp_path, {})
    _, cells = run_comparison(comparison(trained), [FakeTask], workdir, Share(part=1, parts=2))
    assert {seed for name, seed in trained if name == "base"} == {4} and len(cells) == 2
    assert run_comparison(comparison(trained), [FakeTask], workdir, Share(parts=0))[1] == cells


def test_what_stands_in_for_b_is_kept_under_a_name_of_its_own(trained, tmp_path):
    saved = Checkpoints(workdir=open_workdir(tmp_path, {}), task=FakeTask(), seed=0)
    policy = NoiseAugmentation(most=0.1)
    for _ in range(2):
        assert saved.base_after(5, policy).cost.updates == 5
        assert saved.base_after(5, policy, rate=0.5).cost.updates == 5
    assert len(trained) == 2
    names = sorted(path.name for path in (tmp_path / "trained").iterdir())
    assert [name.rpartition("@")[2] for name in names] == ["5", "5,0.5"]


def test_a_share_on_top_is_another_extra_budget(tmp_path):
    saved = Checkpoints(workdir=open_workdir(tmp_path, {}), task=FakeTask(), seed=0)
    assert saved.job("recycle+0.1").task.budget.extra == 0.1 and saved.job("recycle").task.budget == FakeTask().budget
    assert saved.job("recycle+0.1").observing("recycle").label == "balls predictor recycle+0.1 (seed 0)"
    assert saved.job("recycle").observing("first").label == "balls predictor recycle--first (seed 0)"
