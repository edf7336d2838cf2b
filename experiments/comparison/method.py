"""The remedies by name: what each does with B, for the extra budget.

A method's settings come from the arena (`Choices`, `Recycling`) where they were tuned by world, or stand here.
`NAME+SHARE` in a contest is the method with another extra budget, for curves of horizon against cost.
"""

import dataclasses
import difflib
from collections.abc import Callable, Iterable

from experiments.comparison.phases import Job, recycle_with, tune_with
from experiments.comparison.task import Task, Trained, gate_of
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.errors.rollout.registration import Registration
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.pushforward import Pushforward


def serves_all(task: Task) -> str:
    """No arena is refused."""
    del task
    return ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A remedy with its settings.

    Attributes:
        run: what it does.
        refuses: why an arena cannot be served, empty where it can.
        setting: id of the setting that a family was given, where there was a choice; cells say it.
    """

    run: Callable[[Job], Trained]
    refuses: Callable[[Task], str] = serves_all
    setting: str = ""


def needs_simulator(task: Task) -> str:
    """For methods that ask a simulator."""
    return "" if task.continued is not None else f"{task.world} has no simulator"


def needs_world(task: Task) -> str:
    """For what shows the world itself."""
    return "" if task.simulator is not None else f"{task.world} was recorded: there is no world to run on"


def b_plus(job: Job) -> Trained:
    """B trained on."""
    return tune_with(job, TeacherForcing(), "b_plus")


def noise(job: Job) -> Trained:
    """Noise augmentation, its level told."""
    return tune_with(job, NoiseAugmentation(most=job.task.choices.noise), "noise")


def pushforward(job: Job) -> Trained:
    """Fresh own rollouts, recorded targets."""
    return tune_with(job, Pushforward(steps=job.task.choices.pushforward), "pushforward")


def recycle(job: Job) -> Trained:
    """Own cases of all ages, `registered` targets: no simulator, no other network."""
    return recycle_with(job, registered(job.task), "recycle")


def registered(task: Task) -> Registered:
    """The reference of recycling, as an arena's choices set it."""
    choices = task.choices
    velocity_damping = choices.flow_velocity_damping if task.kind == "flow" else choices.velocity_damping
    registration = Registration(time=choices.time, cells=choices.cells)
    return Registered(
        registration=registration,
        reanchor_rate=choices.reanchor_rate,
        velocity_damping=velocity_damping,
        gate=gate_of(choices),
    )


def recycle_continued(job: Job) -> Trained:
    """Own cases, targets from the simulator, at the same total cost."""
    assert job.task.continued is not None
    return recycle_with(job, job.task.continued, "recycle_continued")


METHODS: dict[str, Method] = {
    "b": Method(run=lambda job: job.base),
    "b_plus": Method(run=b_plus),
    "noise": Method(run=noise),
    "pushforward": Method(run=pushforward),
    "recycle": Method(run=recycle),
    "recycle_continued": Method(run=recycle_continued, refuses=needs_simulator),
}


def require_known(names: Iterable[str], methods: dict[str, Method]) -> None:
    """Raises ValueError with the nearest names where a method is not known."""
    for name in names:
        plain = name.partition("+")[0]
        if plain not in methods:
            near = difflib.get_close_matches(plain, methods, n=3, cutoff=0.4) or sorted(methods)
            raise ValueError(f"unknown method {plain!r}; nearest: {', '.join(near)}")
