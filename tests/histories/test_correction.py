"""A corrector's training rows: the case's window, the reference's newest frames, and real windows left alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.rollout.harvest import Case, Harvest
from recycle_jax.generators.corrected import Corrected, corrector
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.correction import CorrectionFromCases, LeaveAlone
from recycle_jax.histories.mixture import Mixture
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout
from recycle_jax.sharding import make_mesh
from recycle_jax.training.loop import Schedule
from recycle_jax.training.phases import Adam, train_phase

FRAME, WINDOW = (2, 2, 1), 3
KEY = jax.random.key(3)
BANK = ErrorBank(capacity=4)
examples = jax.jit(lambda policy, *given: policy.examples({}, *given), static_argnums=(0, 1))
insert = jax.jit(ErrorBank.insert, static_argnums=0)


def blend():
    """Corrects the newest frame towards the one before it, which is right where video stands still."""

    def apply(params, window, level, condition):
        return params["newest"] * window[:, -1:] + params["before"] * window[:, -2:-1]

    start = {"newest": jnp.float32(1.0), "before": jnp.float32(0.0)}
    return Predictor(network=Network(init=lambda key: start, apply=apply), context_frames=WINDOW)


def still(rows, frames, seed=0):
    picture = np.random.default_rng(seed).uniform(-0.5, 0.5, (rows, 1, *FRAME))
    return jnp.asarray(np.repeat(picture, frames, axis=1), jnp.float32)


def filled(count):
    """A bank of `count` cases of still video, each with its own error on all three frames."""
    state = BANK.init(Harvest(generator=blend()).entry(FRAME))
    if not count:
        return state
    clean = still(count, WINDOW, seed=1)
    size = 0.25 * (1.0 + jnp.arange(count, dtype=jnp.float32))[:, None, None, None, None]
    numbers = jnp.arange(count, dtype=jnp.int32)
    cases = Case(
        context=clean + size,
        clean_context=clean,
        target=clean[:, :1],
        ages=jnp.ones((count, WINDOW), jnp.int32),
        domain=numbers,
        step=numbers,
        score=jnp.zeros(count, jnp.float32),
    )
    return insert(BANK, state, cases, jnp.zeros(count, jnp.int32), jnp.ones(count, bool))


def batch_of(rows, frames=WINDOW):
    return Batch(clip=still(rows, frames, seed=9), domain=jnp.zeros(rows, jnp.int32))


def drawn_with(cleaned, rows=16, state=None):
    policy = CorrectionFromCases(bank=BANK, cases=filled(4) if state is None else state, cleaned=cleaned)
    return examples(policy, blend(), policy.cases, batch_of(rows), jax.random.split(KEY, rows))


def test_a_window_with_errors_asks_for_its_own_newest_frame_without():
    example = drawn_with(cleaned=0.0).example
    error = np.asarray(example.context - example.x0)
    np.testing.assert_allclose(error, error[:, :1, :1, :1] + np.zeros_like(error), atol=2e-3)
    np.testing.assert_allclose(error.min() / 0.25, np.round(error.min() / 0.25), atol=2e-2)
    assert error.min() > 0.2
    np.testing.assert_array_equal(example.x_injected, example.x0)


def test_a_share_of_the_rows_has_its_older_frames_clean():
    example = drawn_with(cleaned=1.0).example
    np.testing.assert_array_equal(example.context[:, :-1], np.repeat(example.x0, WINDOW - 1, axis=1))
    assert np.abs(np.asarray(example.context[:, -1:] - example.x0)).min() > 0.2
    half = drawn_with(cleaned=0.5, rows=64).example
    share = np.mean(np.all(half.context[:, :1] == half.x0, axis=(1, 2, 3, 4)))
    assert 0.3 < share < 0.7


def test_without_cases_rows_are_real_windows_and_counted():
    drawn = drawn_with(cleaned=0.5, state=filled(0))
    np.testing.assert_array_equal(drawn.example.context, batch_of(16).clip)
    np.testing.assert_array_equal(drawn.example.x0, batch_of(16).clip[:, -1:])
    assert np.all(drawn.clean) and not np.any(drawn.found)


def test_real_windows_are_left_alone():
    clip = jnp.asarray(np.random.default_rng(0).uniform(-1.0, 1.0, (4, 5, *FRAME)), jnp.float32)
    batch = Batch(clip=clip, domain=jnp.zeros(4, jnp.int32))
    drawn = examples(LeaveAlone(), blend(), None, batch, jax.random.split(KEY, 4))
    np.testing.assert_array_equal(drawn.example.context, clip[:, :WINDOW])
    np.testing.assert_array_equal(drawn.example.x0, clip[:, WINDOW - 1 : WINDOW])
    assert np.all(drawn.clean)


class Pictures:
    """Still video, different in every batch."""

    shape, domains, deterministic = FRAME, ("pictures",), True

    def batch(self, step, rows, frames):
        return Batch(clip=still(rows, frames, seed=step), domain=jnp.zeros(rows, jnp.int32))


def test_a_trained_corrector_holds_another_generator_on_its_video():
    """It learns to look at the frame before; the cases that it was given outlive the run that donates them."""
    policy = CorrectionFromCases(bank=BANK, cases=filled(4), cleaned=1.0)
    params = train_phase(
        blend(),
        Mixture(parts=((1, policy), (1, LeaveAlone()))),
        Pictures(),
        Schedule(updates=300, rows=8, frames=WINDOW, log_every=300, save_every=300),
        KEY,
        make_mesh(jax.devices()[:1]),
        adam=Adam(learning_rate=0.05),
    )
    assert params["newest"] == pytest.approx(0.0, abs=0.05) and params["before"] == pytest.approx(1.0, abs=0.05)
    assert int(policy.cases.count.sum()) == 4
    slips = Network(init=lambda key: {}, apply=lambda params, context, level, condition: context[:, -1:] + 0.1)
    inner = Predictor(network=slips, context_frames=2)
    generator = Corrected(inner=inner, cleaner=corrector(blend()))
    start = still(2, WINDOW)
    drift = lambda who, parameters: rollout(who, parameters, start, KEY, 10)[:, -1] - start[:, -1]  # noqa: E731
    np.testing.assert_allclose(drift(inner, {}), 1.0, atol=1e-5)
    assert np.abs(np.asarray(drift(generator, {"inner": {}, "corrector": params}))).max() < 0.2


def test_cases_of_another_window_are_refused():
    long = Predictor(network=blend().network, context_frames=WINDOW + 1)
    policy = CorrectionFromCases(bank=BANK, cases=filled(1))
    with pytest.raises(ValueError, match=r"cases have windows of \(3, 2, 2, 1\), but the corrector"):
        examples(policy, long, policy.cases, batch_of(4, WINDOW + 1), jax.random.split(KEY, 4))
    with pytest.raises(ValueError, match="clips of 3 frames are too short for a corrector's window"):
        examples(policy, long, policy.cases, batch_of(4), jax.random.split(KEY, 4))
    with pytest.raises(ValueError, match="cleaned is 2.0"):
        CorrectionFromCases(bank=BANK, cases=filled(1), cleaned=2.0)
