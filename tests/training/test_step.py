"""The correct program: plain training where nothing is injected, and nothing at all where a step is not finite."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.one_step.algebra import ResidualEntry
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.one_step import one_step
from recycle_jax.models.conv import frame_unet
from recycle_jax.rng import row_keys
from recycle_jax.sharding import make_mesh
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state, with_optimizer
from recycle_jax.training.step import make_correct, update

FRAME, ROWS = (8, 8, 1), 4
BANK = ErrorBank(capacity=8)
ADAM = Adam(learning_rate=0.01).build(10)
NETWORK = frame_unet(shape=FRAME, context_frames=2, chunk_frames=1, patch=4, width=8, levels=1)
PREDICTOR = Predictor(network=NETWORK, context_frames=2)
insert = jax.jit(ErrorBank.insert, static_argnums=0)
CLEAN = TeacherForcing()
CLOSED = one_step(bank=BANK, share=0.0, clean_write=1.0)
OPEN = one_step(bank=BANK, share=1.0)


def state():
    return init_state(PREDICTOR, ADAM, jax.random.key(0))


def empty_bank():
    return BANK.init(ResidualEntry.entry(1, FRAME))


def batch(tiny, step):
    return tiny.Waves(shape=FRAME).batch(step, ROWS, 3)


@functools.cache
def program(policy):
    return make_correct(PREDICTOR, policy, ADAM, make_mesh(jax.devices()[:1]))


def trained(tiny, policy, bank=None, steps=3):
    """State, bank and metrics after some steps."""
    now, metrics = state(), []
    for step in range(steps):
        now, bank, measured = program(policy)(now, bank, batch(tiny, step))
        metrics.append(measured)
    return now, bank, metrics


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def assert_close(one, other):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), one, other)


@pytest.fixture(scope="module")
def plain(tiny):
    return trained(tiny, CLEAN)


def test_with_gates_closed_no_bit_of_the_bank_gets_through(tiny):
    """One program, an empty and a full bank: here equality to the bit can be promised, and must hold."""
    errors = np.random.default_rng(0).normal(size=(8, 1, *FRAME)).astype(np.float32)
    zeros = jnp.zeros(8, jnp.int32)
    entries = ResidualEntry(
        residual=jnp.asarray(errors), sigma=jnp.ones((8, 1)), age=zeros + 1, domain=zeros, step=zeros
    )
    full = insert(BANK, empty_bank(), entries, zeros, jnp.ones(8, bool))
    before = np.asarray(full.inserted).item()
    without, _, first = trained(tiny, CLOSED, empty_bank())
    with_errors, bank, second = trained(tiny, CLOSED, full)
    assert_equal((without.params, without.opt_state), (with_errors.params, with_errors.opt_state))
    assert_equal(first, second)
    assert bank.inserted[0] == before + 3 * ROWS, "clean rows were asked to write"


def test_compiled_too_a_static_clean_policy_is_plain_training(tiny, plain):
    """To a rounding error: another program, which a compiler may fuse and round otherwise."""
    now, _, metrics = trained(tiny, CLOSED, empty_bank())
    assert_close(now.params, plain[0].params)
    assert_close([m["loss"] for m in metrics], [m["loss"] for m in plain[2]])


def test_teacher_forcing_is_the_shortest_loop_that_does_the_same(tiny, plain):
    """Network, gradient and optimiser only; to a rounding error, since the program is another one."""

    @jax.jit
    def minimal(params, inner, clip):
        def loss(params):
            missed = NETWORK.apply(params, clip[:, :2], jnp.zeros(ROWS), None) - clip[:, 2:]
            return jnp.mean(jnp.mean(jnp.square(missed), axis=(1, 2, 3, 4)))

        value, gradient = jax.value_and_grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, inner = ADAM.update(gradient, inner, params)
            return optax.apply_updates(params, updates), inner, value

    start = state()
    params, inner = start.params, start.opt_state
    for step in range(3):
        params, inner, loss = minimal(params, inner, batch(tiny, step).clip)
    assert_close((params, inner, loss), (plain[0].params, plain[0].opt_state, plain[2][-1]["loss"]))


POLICIES = {
    "teacher forcing": (CLEAN, None),
    "mixture": (Mixture(parts=((1, CLEAN), (3, CLEAN))), None),
    "closed gates": (CLOSED, "bank"),
}


@pytest.mark.parametrize("name", list(POLICIES))
def test_operation_by_operation_a_clean_policy_is_plain_training_to_the_bit(tiny, name):
    """Without a compiler that fuses, equality to the bit can be promised: the same operations in the same order."""
    policy, bank = POLICIES[name]
    generator, clips = tiny.line(), tiny.Waves().batch(0, ROWS, 3)
    start = init_state(generator, ADAM, jax.random.key(0))
    stored = None if bank is None else BANK.init(ResidualEntry.entry(1, tiny.SHAPE))
    keys = row_keys(jax.random.fold_in(start.key, start.step), ROWS)

    def plain_loss(params):
        missed = generator.network.apply(params, clips.clip[:, :2], jnp.zeros(ROWS), None) - clips.clip[:, 2:]
        return jnp.mean(jnp.mean(jnp.square(missed), axis=(1, 2, 3, 4)))

    with jax.disable_jit():
        grad = jax.value_and_grad(policy.loss, has_aux=True)
        (loss, _), gradient = grad(start.params, generator, stored, clips, keys)
        now, _, _ = update(start, ADAM, loss, gradient)
        wanted, gradient = jax.value_and_grad(plain_loss)(start.params)
        with jax.numpy_dtype_promotion("standard"):
            updates, inner = ADAM.update(gradient, start.opt_state, start.params)
            params = optax.apply_updates(start.params, updates)
    assert_equal((loss, now.params, now.opt_state), (wanted, params, inner))


def test_open_gates_are_not_plain_training(tiny, plain):
    now, bank, metrics = trained(tiny, OPEN, empty_bank())
    assert [float(m["empty_draws"]) for m in metrics] == [ROWS, 0.0, 0.0]
    assert bank.inserted[0] == 3 * ROWS and bank.empty_draws[0] == ROWS
    assert float(metrics[0]["loss"]) == pytest.approx(float(plain[2][0]["loss"]), rel=1e-5)
    assert float(metrics[1]["loss"]) != pytest.approx(float(plain[2][1]["loss"]), rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tiny, bad):
    now, bank, _ = trained(tiny, OPEN, empty_bank(), steps=2)
    before = jax.tree.map(np.array, (now.params, now.opt_state, bank))
    poisoned = batch(tiny, 2)
    poisoned = poisoned.replace(clip=poisoned.clip.at[1, 2, 0, 0, 0].set(bad))
    now, bank, metrics = program(OPEN)(now, bank, poisoned)
    assert not np.isfinite(metrics["loss"])
    assert_equal((now.params, now.opt_state, bank), before)
    assert (now.step, now.refused, now.last_refused) == (3, 1, 2)
    now, bank, metrics = program(OPEN)(now, bank, batch(tiny, 3))
    assert np.isfinite(metrics["loss"]) and (now.step, now.refused, now.last_refused) == (4, 1, 2)
    assert bank.inserted[0] == before[2].inserted[0] + ROWS, "a good step after a bad one trains on"
    assert not np.array_equal(now.params["head"]["bias"], before[0]["head"]["bias"])


@pytest.mark.parametrize("loss,gradient", [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)])
def test_loss_or_gradient_alone_refuse_a_step(loss, gradient):
    optimizer = optax.sgd(0.1)
    start = with_optimizer({"a": jnp.float32(1.0), "b": jnp.float32(2.0)}, optimizer, jax.random.key(0))
    gradients = {"a": jnp.float32(0.5), "b": jnp.float32(gradient)}
    now, _, is_finite = update(start, optimizer, jnp.float32(loss), gradients)
    assert not is_finite and now.refused == 1 and now.last_refused == 0 and now.step == 1
    assert_equal(now.params, start.params)


GOLDEN = ((0.6238793, 1.0791558), (0.6107954, 0.8672306))
"""Loss and gradient norm of the first two steps, on the CPU."""


def test_golden_metrics_of_the_first_two_steps(plain):
    measured = [(float(m["loss"]), float(m["gradient_norm"])) for m in plain[2][:2]]
    np.testing.assert_allclose(
        measured,
        GOLDEN,
        rtol=1e-4,
        err_msg=(
            "The first two steps are not what they were. The first loss depends on network, initialisation and "
            "data, the first norm on the gradient besides, the second step on the optimiser. If the change was meant, "
            "every committed result was made by another program: say so, and put the new numbers here."
        ),
    )
