"""What one training seed of one task has on disk: phases that several methods share, and those of each method.

A finished phase is a folder `trained/WORLD-KIND-SEED-PHASE` of parameters with its bill, `cost.json`; an unfinished one
resumes from `checkpoints/WORLD-KIND-SEED-PHASE`.
"""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import jax

from experiments.comparison.phases import Job, train_base
from experiments.comparison.task import Task, Trained
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.io import checkpoint
from recycle_jax.io.lock import hold
from recycle_jax.io.paths import named, plain_name, remove_tree
from recycle_jax.io.workdir import Workdir
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.training.cost import Cost
from recycle_jax.training.loop import Observer
from recycle_jax.typing import Params

PHASE = "--"
"""Between a method and one of its phases, in the names of checkpoints."""

OTHER_SHARE, OTHER_SEED = 0.1, 2000
"""The other model, whose errors a generator meets once: a B of this share of the updates, of a seed so far on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The phases of one seed and task.

    Attributes:
        workdir: of the run.
        task: what is trained.
        seed: of training.
    """

    workdir: Workdir
    task: Task
    seed: int

    def job(self, method: str) -> Job:
        """Returns what a method is given; `METHOD+SHARE` spends another extra budget."""
        name, _, share = method.partition("+")
        budget = self.task.budget
        paid = dataclasses.replace(budget, extra=float(share)) if share else budget
        return Job(
            task=dataclasses.replace(self.task, budget=paid),
            start=functools.cache(functools.partial(self.base_of, self.seed)),
            seed=self.seed,
            observing=functools.partial(self.observer_of, name, method),
            base_of=self.base_of,
            base_after=self.base_after,
        )

    def base_of(self, seed: int) -> Trained:
        """Returns B of a seed, trained where it is not there yet."""
        there = dataclasses.replace(self, seed=seed)
        return there.shared("b", lambda: train_base(self.task, seed, there.observer))

    def base_after(self, updates: int, policy: HistoryPolicy, *, rate: float | None = None) -> Trained:
        """Returns what so many updates of a policy make from scratch, in the place of B.

        Args:
            updates: of training; the schedule has that length.
            policy: of its histories.
            rate: another learning rate than the budget's.
        """
        usual = self.task.budget.base_rate
        rate = usual if rate is None else rate
        name = f"{_policy_name(policy)}@{updates}" + (f",{rate:g}" if rate != usual else "")
        return self._scratch(name, self.seed, policy, updates=updates, rate=rate)

    def other_model(self) -> Params:
        """Returns another model of the same kind, whose training no method pays for: generators meet its errors."""
        updates = max(1, round(OTHER_SHARE * self.task.budget.base))
        rate = self.task.budget.base_rate
        seed = OTHER_SEED + self.seed
        return self._scratch("other_model", seed, TeacherForcing(), updates=updates, rate=rate).params

    def shared(self, phase: str, train: Callable[[], Trained]) -> Trained:
        """Returns a phase that several methods share: trained once, while other processes wait, then read from disk."""
        folder = self._folder(phase)
        bill = folder / "cost.json"
        with contextlib.nullcontext() if bill.exists() else hold(folder, wait=True):
            if bill.exists():
                params = checkpoint.restore(folder, jax.eval_shape(self.task.generator.init, jax.random.key(0)))[1]
                return Trained(params=params, cost=Cost(**read_json(bill)))
            trained = train()
            checkpoint.save(folder, 0, trained.params)
            write_json(bill, dataclasses.asdict(trained.cost))
        return trained

    def keep(self, method: str, trained: Trained) -> None:
        """Keeps what was trained, and drops the checkpoints of its phases, which hold banks and optimisers."""
        if method == "b":
            return
        folder, name = self._folder(method), self._name(method)
        with hold(folder):
            checkpoint.save(folder, 0, trained.params)
        for phase in self.workdir.checkpoints.iterdir() if self.workdir.checkpoints.exists() else ():
            if plain_name(phase.name) == name or plain_name(phase.name).startswith(f"{name}{PHASE}"):
                remove_tree(phase)

    def observer_of(self, name: str, method: str, phase: str) -> Observer:
        """Returns the observer of a phase of a method; the method's own phase has no name besides."""
        return self.observer(method if phase == name else f"{method}{PHASE}{phase}")

    def observer(self, phase: str) -> Observer:
        """Returns the observer of a phase, which logs it and says where it is saved."""
        name = self._name(phase)
        return Observer(
            log=lambda record: self.workdir.log({"run": name, **record}),
            checkpoints=named(self.workdir.checkpoints, name),
            label=f"{self.task.world} {self.task.kind} {phase} (seed {self.seed})",
        )

    def _scratch(self, phase: str, seed: int, policy: HistoryPolicy, *, updates: int, rate: float) -> Trained:
        budget = dataclasses.replace(self.task.budget, base=updates, base_rate=rate)
        task, observer = dataclasses.replace(self.task, budget=budget), self.observer(phase)
        return self.shared(phase, lambda: train_base(task, seed, lambda _: observer, policy))

    def _folder(self, phase: str) -> Path:
        return named(self.workdir.path / "trained", self._name(phase))

    def _name(self, phase: str) -> str:
        return f"{self.task.world}-{self.task.kind}-{self.seed}-{phase}"


def _policy_name(policy: HistoryPolicy) -> str:
    """`b` for teacher forcing, else a name that is another for other settings."""
    if policy == TeacherForcing():
        return "b"
    return f"{type(policy).__name__.lower()}-{hashlib.sha256(repr(policy).encode()).hexdigest()[:8]}"
