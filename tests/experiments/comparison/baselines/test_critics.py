"""Self Forcing: where its gradient runs, what a kernel sees, and how its discriminator learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.adversarial import AdversarialSelfForcing, Critic
from experiments.comparison.baselines.critic_network import window_critic
from experiments.comparison.baselines.mmd import KernelSelfForcing, WindowFeatures, mmd2
from recycle_jax.batch import Batch
from recycle_jax.generators.base import clean_example, slide
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.models.base import Network
from recycle_jax.sharding import ROLES, make_mesh, place
from recycle_jax.training.cost import flops_of
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

PARAMS = {"gain": jnp.float32(0.9)}
WIDTHS = (0.3, 1.0)
CRITIC = window_critic(channels=1, frames=4, widths=(8,))
KERNEL = KernelSelfForcing(steps=2, weight=1.0, critic_share=0.25)
GAME = AdversarialSelfForcing(steps=2, weight=0.1, critic_share=0.25, critic=CRITIC)
ADAM = Adam(learning_rate=0.01).build(10)


def waves(rows, frames=4, seed=0, size=8):
    phase = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, (rows, 1, 1, 1, 1))
    place_of = np.arange(size)[None, None, :, None, None] * 0.8
    clip = 0.8 * np.sin(phase + place_of + 0.5 * np.arange(frames)[None, :, None, None, None])
    clip = np.broadcast_to(clip, (rows, frames, size, size, 1)).astype(np.float32)
    return Batch(clip=jnp.asarray(clip), domain=jnp.zeros(rows, jnp.int32))


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_windows_are_real_contexts_and_a_rollout_by_hand(kind, request, batch_of, keys_of):
    generator = request.getfixturevalue(kind)
    batch, keys = batch_of(4, 4), keys_of(4)
    windows = jax.jit(lambda: KERNEL.windows(PARAMS, generator, batch, keys))()
    context, chunks = batch.clip[:, :2], []
    for i in range(2):
        of_step = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        _, chunk = generator.step(PARAMS, context, of_step, None)
        chunks.append(chunk)
        context = slide(context, chunk)
    np.testing.assert_allclose(windows, jnp.concatenate([batch.clip[:, :2], *chunks], axis=1), rtol=1e-5, atol=1e-6)


def test_the_gradient_stops_at_the_history_unless_it_is_told_to_go_on(predictor, batch_of, keys_of):
    """The second frame is `g (g x + c) + c`: its slope in `g` is `g x + c`, and `2 g x + c` through the history."""
    batch, x = batch_of(4, 4), np.asarray(batch_of(4, 4).clip)[:, 1, 0, 0, 0]

    def slope(policy):
        newest = lambda p: policy.windows(p, predictor, batch, keys_of(4))[:, -1, 0, 0, 0]  # noqa: E731
        return jax.jacobian(newest)(PARAMS)["gain"]

    np.testing.assert_allclose(slope(KERNEL), 0.9 * x + 0.01, rtol=1e-5)
    np.testing.assert_allclose(slope(dataclasses.replace(KERNEL, through_history=True)), 1.8 * x + 0.01, rtol=1e-5)


@pytest.mark.parametrize("kind", ["predictor", "flow"])
def test_the_loss_is_anchor_and_critic_by_their_weights(kind, request, keys_of):
    generator = request.getfixturevalue(kind)
    batch, keys = waves(8), keys_of(8)
    loss = jax.jit(lambda policy: policy.loss(PARAMS, generator, None, batch, keys), static_argnums=0)
    policy = dataclasses.replace(KERNEL, anchor=2.0, weight=3.0)
    total, aux = loss(policy)
    fitted = aux.metrics["loss_clean_sum"] / 8.0
    np.testing.assert_allclose(total, 2.0 * fitted + 3.0 * aux.metrics["critic"], rtol=1e-5)
    assert aux.memo[0].shape == aux.memo[1].shape == (8, 4, 8, 8, 1)
    np.testing.assert_array_equal(aux.memo[0][:, :2], batch.clip[:, :2])
    np.testing.assert_array_equal(aux.memo[1], batch.clip)
    assert isinstance(policy, HistoryPolicy) and np.all(aux.clean)
    assert generator.to_error(aux.residual, aux.sigma).shape == clean_example(generator, batch, keys).x0.shape


def moved(rows, mean, seed):
    return jax.random.normal(jax.random.key(seed), (rows, 3)) + mean


def test_a_kernel_finds_no_difference_on_average_and_more_the_further_apart():
    """Mean over many draws: the estimate is unbiased for what does not share a context."""
    of = jax.jit(lambda x, y: mmd2((x,), (y,), WIDTHS))
    equal = [float(of(moved(16, 0.0, 2 * i), moved(16, 0.0, 2 * i + 1))) for i in range(200)]
    assert abs(np.mean(equal)) < 3.0 * np.std(equal) / 200**0.5
    apart = [float(of(moved(16, mean, 0), moved(16, 0.0, 1))) for mean in (0.0, 0.5, 1.0, 2.0)]
    assert np.all(np.diff(apart) > 0.0) and apart[-1] > 10.0 * np.std(equal)


def test_identical_windows_are_at_distance_0():
    x = moved(8, 0.0, 0)
    assert float(mmd2((x, x), (x, x), WIDTHS)) == pytest.approx(0.0, abs=1e-6)


def test_a_kernel_needs_two_rows():
    with pytest.raises(ValueError, match="1 row on a device .* at least 2"):
        mmd2((moved(1, 0.0, 0),), (moved(1, 0.0, 1),), WIDTHS)


def test_descent_on_the_kernel_brings_windows_to_life():
    """Grey windows that follow the kernel's gradient become as bright as real ones."""
    features, real = WindowFeatures(widths=(8,)), waves(16, seed=3).clip
    context = waves(16, seed=3).clip[:, :2]

    def distance(rest):
        return mmd2(features(jnp.concatenate([context, rest], axis=1)), features(real), (0.3, 1.0, 3.0))

    step = jax.jit(jax.value_and_grad(distance))
    rest = jnp.zeros((16, 2, 8, 8, 1))
    first, _ = step(rest)
    for _ in range(60):
        _, slope = step(rest)
        rest = rest - 0.5 * slope / jnp.sqrt(jnp.mean(jnp.square(slope))) * 0.05
    last, _ = step(rest)
    assert last < 0.5 * first and np.std(rest) > 0.2


def test_features_are_fixed_and_tell_wrong_order_from_right():
    features, clip = jax.jit(WindowFeatures()), waves(4).clip
    jax.tree.map(np.testing.assert_array_equal, features(clip), jax.jit(WindowFeatures())(clip))
    for right, wrong in zip(features(clip), features(clip[:, ::-1]), strict=True):
        assert np.abs(np.asarray(right - wrong)).max() > 1e-2
    flat = jax.jit(jax.grad(lambda w: sum(f.sum() for f in features(w))))(jnp.zeros_like(clip))
    assert np.all(np.isfinite(flat)), "flat frames have a finite gradient"


def test_the_bill_counts_rollout_rematerialisation_anchor_and_critic(predictor, flow):
    calls = KERNEL.calls(flow)
    assert (calls.forward, calls.backward) == (2 * 4 + 0.25, 1 + 2 * 4 + 0.25)
    assert KERNEL.calls(predictor).forwards == 2.25 + 3 * 3.25
    assert KERNEL.clip_frames(flow) == 4


def test_the_discriminators_bill_is_about_what_its_step_costs():
    """By XLA's count; the gradient of the first layer by the window is what the bill has too much."""
    critic = window_critic(channels=1, frames=4, widths=(32, 64))
    policy = dataclasses.replace(GAME, critic=critic)
    params, windows = critic.init(jax.random.key(0)), jnp.zeros((1, 4, 16, 16, 1))
    forward = flops_of(critic.apply, params, windows)
    generators = flops_of(jax.grad(lambda w: policy.criticise(as_memory(params), w, w)), windows)
    own = flops_of(jax.grad(policy.critic_loss), params, windows, windows)
    measured, billed = (generators + own) / forward, policy.critic_calls().forwards
    assert 0.6 < measured / billed < 1.1, f"{measured:.1f} forward calls, {billed:.1f} billed"


def as_memory(params):
    return GAME.begin(None, None, 1, jax.random.key(0)).replace(params=jax.tree.map(lambda leaf: leaf[None], params))


@functools.cache
def game_program(predictor, policy):
    return make_correct(predictor, policy, ADAM, make_mesh(jax.devices()[:1]))


def played(predictor, policy=GAME, steps=1, poison=None):
    """Memory before, memory after, and metrics, for some steps of the correct program."""
    state = init_state(predictor, ADAM, jax.random.key(0))
    memory = place(policy.begin(predictor, waves(8), 1, jax.random.key(1)), make_mesh(jax.devices()[:1]), ROLES.bank)
    before = jax.tree.map(np.array, memory)
    for step in range(steps):
        batch = waves(8, seed=step)
        if step == poison:
            batch = batch.replace(clip=batch.clip.at[1, 2].set(np.nan))
        state, memory, metrics = game_program(predictor, policy)(state, memory, batch)
    return before, memory, metrics, state


def test_the_discriminator_learns_in_the_policys_memory(predictor):
    before, memory, metrics, _ = played(predictor, steps=1)
    assert all(leaf.shape[0] == 1 for leaf in jax.tree.leaves(memory))
    changed = jax.tree.map(lambda a, b: np.any(np.asarray(a) != b), memory.params, before.params)
    assert all(jax.tree.leaves(changed)) and np.isfinite(metrics["critic"])


def test_it_learns_only_where_the_step_was_fine(predictor):
    _, good, _, _ = played(predictor, steps=1)
    kept = jax.tree.map(np.array, good)
    _, after, metrics, state = played(predictor, steps=2, poison=1)
    assert not np.isfinite(metrics["loss"]) and state.refused == 1
    jax.tree.map(np.testing.assert_array_equal, after, kept)


def test_the_discriminator_tells_own_windows_from_real_ones(predictor):
    """A predictor that fades is soon found out."""
    _, memory, _, _ = played(predictor, dataclasses.replace(GAME, learning_rate=0.01, penalty=0.1), steps=60)
    params = jax.tree.map(lambda leaf: leaf[0], memory.params)
    real, keys = waves(32, seed=99), jax.random.split(jax.random.key(0), 32)
    made = jax.jit(lambda: GAME.windows({"gain": jnp.float32(0.5)}, predictor, real, keys))()
    score = jax.jit(lambda windows: CRITIC.apply(params, windows).mean())
    assert score(real.clip) > score(made) + 0.05


def test_a_penalty_is_the_squared_slope_by_the_window():
    """Of a linear critic: the squared norm of its weights, whatever the windows."""
    linear = Network(
        init=lambda key: {"w": jnp.arange(4.0)},
        apply=lambda params, window: jnp.einsum("bthwc,w->b", window, params["w"]),
    )
    policy = dataclasses.replace(GAME, critic=linear, penalty=2.0)
    windows = jnp.zeros((3, 1, 1, 4, 1))
    loss = policy.critic_loss({"w": jnp.arange(4.0)}, windows, windows)
    np.testing.assert_allclose(loss, 2.0 * np.log(2.0) + 2.0 * 14.0, rtol=1e-6)
    assert isinstance(CRITIC, Critic)


@pytest.mark.parametrize("change", [{"weight": 0.0}, {"anchor": -1.0}, {"critic_share": -0.1}, {"steps": 0}])
def test_senseless_weights_are_refused(change):
    with pytest.raises(
        ValueError, match=f"{next(iter(change))}.* is .*: use TeacherForcing|{next(iter(change))} .*: use "
    ):
        dataclasses.replace(KERNEL, **change)


@pytest.mark.parametrize("change", [{"penalty": -1.0}, {"learning_rate": 0.0}])
def test_a_game_without_rules_is_refused(change):
    with pytest.raises(ValueError, match="penalty is .* learning_rate"):
        dataclasses.replace(GAME, **change)


def test_clips_must_hold_the_windows(predictor, keys_of):
    with pytest.raises(ValueError, match="clips of 3 frames .* 2 generated steps: draw clips of 4"):
        KERNEL.loss(PARAMS, predictor, None, waves(4, frames=3), keys_of(4))
