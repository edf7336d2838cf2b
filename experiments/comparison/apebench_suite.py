"""All calls into the suite: scenarios, their data, their own trainers, their judgement.

APEBench (arXiv 2411.00180, package `apebench`): emulators of differential equations are trained on trajectories of a
reference solver and judged by rollouts of 200 steps from initial states that they have not seen. Trainers:

    one        one step, supervised
    sup;5      five steps, supervised, gradients through the rollout
    div;5      five steps, each compared with the solver's own step from the state that was visited

They train the suite's network `Conv`, its parameters and initial values untouched, but computed by
`apebench_net.conv_net`: the same function to rounding, faster on a core.
"""

import dataclasses
import difflib
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.stats import gmean

from experiments.comparison.apebench_net import conv_net

try:
    import apebench
    import equinox
    import exponax
    import pdequinox
    from apebench.components import architecture_dict
except ImportError as error:
    raise ImportError("the judge is another package: pip install 'recycle_jax[judge]'") from error

HORIZON = 100
"""Steps that the suite's headline averages over."""

SCENARIOS: dict[str, Callable[..., Any]] = {
    "ks": apebench.scenarios.difficulty.KuramotoSivashinsky,
    "burgers": apebench.scenarios.difficulty.BurgersSingleChannel,
    "kdv": apebench.scenarios.difficulty.KortewegDeVries,
    "fisher": apebench.scenarios.difficulty.FisherKPP,
    "kolmogorov": lambda **more: apebench.scenarios.physical.KolmogorovFlow(
        num_spatial_dims=2, num_points=64, report_metrics="mean_nRMSE,mean_correlation", **more
    ),
}
CHAOTIC = ("ks",)
"""Where the valid prediction time is told in Lyapunov times."""


@jax.custom_batching.custom_vmap
def _one_field(kernels: list[Array], biases: list[Array], x: Array) -> Array:
    return conv_net(kernels, biases, x[None])[0]


@_one_field.def_vmap
def _many_fields(
    size: int, batched: tuple[Any, ...], kernels: list[Array], biases: list[Array], x: Array
) -> tuple[Array, bool]:
    del size
    if any(jax.tree.leaves(batched[:2])):
        raise ValueError("this network is trained one seed at a time: call the trainer outside vmap")
    return conv_net(kernels, biases, x), True


class ShiftedConvNet(pdequinox.arch.ConvNet):
    """The suite's `Conv` on one field `[c, *points]`, for the suite's vmap over rows."""

    def __call__(self, x: Array) -> Array:
        layers: Any = self.layers
        return _one_field([layer.weight for layer in layers], [layer.bias for layer in layers], x)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What all methods have in common; the suite's own defaults but for the number of updates.

    Attributes:
        updates: optimiser steps.
        rows: a batch.
        learning_rate: at the top of a warm-up and cosine schedule that ends at 0.
        warmup: share of the updates in which the rate rises.
        width: hidden channels.
        depth: hidden layers.
    """

    updates: int = 10_000
    rows: int = 20
    learning_rate: float = 1e-3
    warmup: float = 0.2
    width: int = 26
    depth: int = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One scenario with its data.

    Attributes:
        name: in the results.
        scenario: the suite's object.
        train: `[trajectories, t, c, *points]`.
        test: the same of other initial states.
    """

    name: str
    scenario: Any
    train: np.ndarray
    test: np.ndarray

    @property
    def dims(self) -> int:
        """Dimensions of space."""
        return self.train.ndim - 3


def nearest(kind: str, given: str, names: tuple[str, ...]) -> str:
    """What to say of an unknown name."""
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.3) or names
    return f"unknown {kind} {given!r}; nearest: {', '.join(near)}"


@functools.cache
def build_task(name: str, setting: Setting) -> Task:
    """A scenario by its name in the results, its trajectories made by the suite's solver.

    Raises:
        ValueError: for an unknown name, with the nearest ones.
    """
    if name not in SCENARIOS:
        raise ValueError(nearest("scenario", name, tuple(SCENARIOS)))
    rise = max(1, round(setting.warmup * setting.updates))
    optimiser = f"adam;{setting.updates};warmup_cosine;0.0;{setting.learning_rate};{rise}"
    scenario = SCENARIOS[name](optim_config=optimiser, batch_size=setting.rows)
    return Task(
        name=name,
        scenario=scenario,
        train=np.asarray(scenario.get_train_data()),
        test=np.asarray(scenario.get_test_data()),
    )


def suite_network(task: Task, setting: Setting, key: Array, name: str = "shiftedconv") -> Any:
    """The suite's network; `name` "conv" for its own convolutions."""
    architecture_dict["shiftedconv"] = _shifted_conv
    text = f"{name};{setting.width};{setting.depth};relu"
    return task.scenario.get_neural_stepper(task_config="predict", network_config=text, key=key)


def _shifted_conv(text: str, dims: int, points: int, channels: int, activation: Any, key: Array) -> Any:
    del points
    _, width, depth, _ = text.split(";")
    return ShiftedConvNet(
        dims,
        channels,
        channels,
        hidden_channels=int(width),
        depth=int(depth),
        activation=activation,
        boundary_mode="periodic",
        key=key,
    )


def train_by_suite(task: Task, setting: Setting, method: str, seed: int) -> Any:
    """Trains with the suite's own trainer, keys split as the suite splits them; returns its network."""
    of_params, of_batches = jax.random.split(jax.random.PRNGKey(seed))
    network = suite_network(task, setting, of_params)
    trainer = task.scenario.get_trainer(train_config=method)
    return trainer(network, of_batches, record_loss_every=100, spawn_tqdm=False)[0]


def suite_rollout(task: Task, network: Any) -> np.ndarray:
    """Rollouts of a network of the suite from the test set's initial states, without these."""
    steps = task.test.shape[1] - 1
    roll = equinox.filter_jit(lambda net, x: jax.vmap(exponax.rollout(net, steps))(x))
    return np.asarray(roll(network, jnp.asarray(task.test[:, 0])))


def judge(task: Task, rollout: np.ndarray) -> dict[str, Any]:
    """The suite's judgement of rollouts `[initial states, steps, c, *points]`, and what follows from it."""
    truth = task.test[:, 1:]
    metrics = task.scenario.perform_tests_on_rollout(jnp.asarray(rollout), jnp.asarray(truth))
    curves = {name: np.asarray(value)[0] for name, value in metrics.items()}
    error = curves["mean_nRMSE"]
    return {
        "gmean_nrmse": float(gmean(np.nan_to_num(error[:HORIZON], nan=np.inf))),
        "correlation_time": first_step(correlation(curves) < 0.8),
        "valid_steps": float(np.mean([first_step(bad) - 1 for bad in ~(relative_error(rollout, truth) <= 0.5)])),
        "curves": {name: curve.tolist() for name, curve in curves.items()},
    }


def correlation(curves: dict[str, np.ndarray]) -> np.ndarray:
    """`[steps]`: the suite's where it measures one, else that of states as large as the true ones with this error."""
    return curves.get("mean_correlation", 1.0 - np.square(curves["mean_nRMSE"]) / 2.0)


def relative_error(rollout: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`|x - y| / |y|` of every state, `[initial states, steps]`."""
    axes = tuple(range(2, truth.ndim))
    return np.sqrt(np.square(rollout - truth).sum(axes) / np.square(truth).sum(axes))


def first_step(hit: np.ndarray) -> int:
    """Number of the first step, from 1, at which `hit` `[steps]` holds; one past the last where it never does."""
    return int(np.argmax(hit)) + 1 if hit.any() else len(hit) + 1


def lyapunov_exponent(task: Task, steps: int, apart: float = 1e-4) -> float:
    """Leading Lyapunov exponent, per step of the suite's solver, by twin experiments from all test states.

    Twins are drawn back to the relative distance `apart` after every step; the logarithm of what they had grown is
    averaged over `steps` steps, the first fifth left out.
    """
    solver = jax.vmap(task.scenario.get_ref_stepper())
    axes = tuple(range(1, task.test.ndim - 1))
    norm = lambda x: jnp.sqrt(jnp.sum(jnp.square(x), axes, keepdims=True))  # noqa: E731

    def body(pair: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        before = norm(pair[1] - pair[0])
        x, twin = solver(pair[0]), solver(pair[1])
        after = norm(twin - x)
        return (x, x + (twin - x) * apart * norm(x) / after), jnp.mean(jnp.log(after / before))

    x = jnp.asarray(task.test[:, 0])
    kick = jax.random.normal(jax.random.PRNGKey(0), x.shape)
    twins = (x, x + kick * apart * norm(x) / norm(kick))
    growth = jax.jit(lambda pair: jax.lax.scan(body, pair, None, length=steps)[1])(twins)
    return float(np.mean(np.asarray(growth)[steps // 5 :]))
