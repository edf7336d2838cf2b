"""Our side of the judgement: the suite's network as a generator of frames, trained by our step.

A field is a frame of height 1 (one dimension) or a picture, divided by the largest magnitude in the training
trajectories; the network multiplies it in again, so that it computes and starts as the suite's does. Updates, rows,
Adam and its schedule are the suite's (`apebench_suite.Setting`). What differs:

    ours            histories from earlier passes (`histories.relay`), and the root of a row's squared error as its loss
    ours_clean      the same without recycling: recorded histories only
    ..._residual    either of them with a network that predicts the change, which the suite's trainers are not offered
    ..._conserving  any of them whose frames keep the mean over space where every training trajectory does
    pushforward     fresh pushforward of one step in place of the relay, at 1.33 times the cost
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.comparison.apebench_net import frame_network, to_fields, to_frames
from experiments.comparison.apebench_suite import Setting, Task
from experiments.comparison.baselines.relay import Relay
from recycle_jax.data.arrays import ArrayClips, from_arrays
from recycle_jax.generators.base import mean_square
from recycle_jax.generators.predictor import Predictor, squared_error
from recycle_jax.histories.base import ExamplePolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.models.outputs import mean_kept
from recycle_jax.rollout.scan import rollout
from recycle_jax.sharding import make_mesh
from recycle_jax.training.loop import Observer, Schedule
from recycle_jax.training.phases import Adam, train_phase
from recycle_jax.typing import Frames, Rows

CONSERVED = 1e-5
"""Change of a mean, over the largest magnitude, that is called rounding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is ours, the same for all scenarios.

    Attributes:
        relay: histories from earlier passes.
        root: whether a row's loss is the root of its mean squared error, not the mean itself.
    """

    relay: Relay = Relay()
    root: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """One of ours.

    Attributes:
        policy: its histories.
        residual: whether the network predicts the change.
        conserving: whether frames keep their mean where the training trajectories do.
    """

    policy: Callable[[Recipe], ExamplePolicy]
    residual: bool = False
    conserving: bool = False


METHODS = {
    "ours": Method(policy=lambda recipe: recipe.relay),
    "ours_clean": Method(policy=lambda recipe: TeacherForcing()),
    "pushforward": Method(policy=lambda recipe: Pushforward(steps=1)),
    "ours_residual": Method(policy=lambda recipe: recipe.relay, residual=True),
    "ours_clean_residual": Method(policy=lambda recipe: TeacherForcing(), residual=True),
    "ours_conserving": Method(policy=lambda recipe: recipe.relay, conserving=True),
    "ours_clean_conserving": Method(policy=lambda recipe: TeacherForcing(), conserving=True),
    "ours_residual_conserving": Method(policy=lambda recipe: recipe.relay, residual=True, conserving=True),
    "ours_clean_residual_conserving": Method(policy=lambda recipe: TeacherForcing(), residual=True, conserving=True),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emulated:
    """What training gave.

    Attributes:
        rollout: `[initial states, steps, c, *points]` from the test set, initial states left out.
        cost_over_one: FLOPs of training over those of as many one-step updates.
    """

    rollout: np.ndarray
    cost_over_one: float


def root_mean_square(residual: Frames) -> Rows:
    """`[b, t, h, w, c]` to `[b]`; smooth at 0. Rows with large states do not outweigh those with small ones."""
    return jnp.sqrt(mean_square(residual) + 1e-12)


def field_clips(task: Task, seed: int) -> tuple[ArrayClips, float]:
    """The training trajectories as clips in [-1, 1], and what they were divided by."""
    scale = float(np.abs(task.train).max())
    frames = np.asarray(to_frames(jnp.asarray(task.train / scale)))
    return from_arrays(list(frames), seed=seed, deterministic=True), scale


def keeps_its_mean(task: Task) -> bool:
    """Whether the mean over space stays the same along every training trajectory, to rounding."""
    means = task.train.mean(tuple(range(3, task.train.ndim)))
    return float(np.abs(means - means[:, :1]).max()) < CONSERVED * float(np.abs(task.train).max())


def build_generator(task: Task, setting: Setting, recipe: Recipe, scale: float, method: Method) -> Predictor:
    """The suite's network on frames."""
    network = frame_network(
        width=setting.width,
        depth=setting.depth,
        channels=task.train.shape[2],
        dims=task.dims,
        scale=scale,
        residual=method.residual,
    )
    if method.conserving and keeps_its_mean(task):
        network = mean_kept(network)
    return Predictor(network=network, context_frames=1, penalty=root_mean_square if recipe.root else squared_error)


def train_ours(task: Task, setting: Setting, recipe: Recipe, method: str, seed: int, observer: Observer) -> Emulated:
    """Trains one of `METHODS` and rolls it out on the test set."""
    chosen = METHODS[method]
    source, scale = field_clips(task, seed)
    generator, policy = build_generator(task, setting, recipe, scale, chosen), chosen.policy(recipe)
    adam = Adam(learning_rate=setting.learning_rate, floor=0.0, warmup=setting.warmup, average=0.0)
    frames = policy.clip_frames(generator)
    schedule = Schedule(updates=setting.updates, rows=setting.rows, frames=frames, log_every=250)
    key, mesh = jax.random.key(seed), make_mesh()
    params = train_phase(generator, policy, source, schedule, key, mesh, adam=adam, observer=observer, shards=mesh.size)
    start = to_frames(jnp.asarray(task.test[:, :1] / np.float32(scale)))
    steps = task.test.shape[1] - 1
    drawn = rollout(generator, params, start, key, steps, mesh=mesh)
    cost = policy.calls(generator).forwards / TeacherForcing().calls(generator).forwards
    return Emulated(rollout=np.asarray(to_fields(drawn, task.dims)) * scale, cost_over_one=cost)
