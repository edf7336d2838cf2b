"""What processes that share a work directory may do to each other: wait, and never spoil."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.checkpoints import Checkpoints
from experiments.comparison.task import Trained
from recycle_jax.io import checkpoint
from recycle_jax.io import lock as locks
from recycle_jax.io.lock import hold, in_use
from recycle_jax.io.workdir import open_workdir
from recycle_jax.io.writers import write_json
from recycle_jax.training.cost import Cost


class Generator:
    def init(self, key: jax.Array) -> dict[str, Any]:
        return {"w": jnp.zeros(2)}


@dataclasses.dataclass(frozen=True)
class Place:
    world: str = "arm"
    kind: str = "flow"
    generator: Generator = Generator()  # noqa: RUF009


def trained(value: float) -> Trained:
    return Trained(params={"w": jnp.full(2, value)}, cost=Cost(train_flops=value))


def checkpoints(workdir) -> Checkpoints:
    return Checkpoints(workdir=workdir, task=Place(), seed=0)


@pytest.fixture
def workdir(tmp_path):
    return open_workdir(tmp_path / "run", {})


def test_a_phase_is_trained_once_and_locked_while_it_is(workdir):
    folder = workdir.path / "trained" / "arm-flow-0-ours%3Alate"
    calls = []

    def train() -> Trained:
        assert in_use(folder)
        calls.append(1)
        return trained(3.0)

    for _ in range(2):
        made = checkpoints(workdir).shared("ours:late", train)
        np.testing.assert_array_equal(made.params["w"], [3.0, 3.0])
        assert made.cost.train_flops == 3.0
    assert calls == [1] and not in_use(folder)


def test_who_waited_for_a_phase_reads_what_the_other_made(workdir, monkeypatch):
    folder = workdir.path / "trained" / "arm-flow-0-b"
    tries = [None, None]

    def busy_twice(root):
        if tries:
            return tries.pop()
        return real(root)

    def other_finishes(_):
        if not tries:
            write_json(folder / "cost.json", dataclasses.asdict(Cost(train_flops=7.0)))

    real = locks._try
    with hold(folder):
        checkpoint.save(folder, 0, {"w": jnp.full(2, 7.0)})
    monkeypatch.setattr(locks, "_try", busy_twice)
    monkeypatch.setattr(locks, "_pause", other_finishes)
    made = checkpoints(workdir).shared("b", lambda: pytest.fail("it was trained a second time"))
    np.testing.assert_array_equal(made.params["w"], [7.0, 7.0])


def test_phases_are_cleared_away_under_new_and_old_names(workdir):
    gone = ["arm-flow-0-ours%3Alate", "arm-flow-0-ours:late--second"]
    kept = ["arm-flow-0-ours%3Alate,cool", "arm-flow-1-ours%3Alate", "arm-flow-0-b"]
    for name in (*gone, *kept):
        (workdir.checkpoints / name).mkdir(parents=True)
    checkpoints(workdir).keep("ours:late", trained(1.0))
    assert sorted(path.name for path in workdir.checkpoints.iterdir()) == sorted(kept)
    assert [path.name for path in (workdir.path / "trained").iterdir()] == ["arm-flow-0-ours%3Alate"]
