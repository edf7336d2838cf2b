"""The relay: a prediction becomes a history, followed by what was recorded, and nothing else is paid for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.comparison.baselines.relay import Relay
from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.memories import bank_of, with_bank
from recycle_jax.histories.mixture import Mixture
from recycle_jax.models.base import Network


def counting():
    """Predicts the next of frames that count, a quarter too much."""
    network = Network(init=lambda key: {"step": jnp.float32(1.25)}, apply=lambda p, x, level, c: x[:, -1:] + p["step"])
    return Predictor(network=network, context_frames=1)


def counting_batch(rows, frames):
    number = 100.0 * jnp.arange(rows, dtype=jnp.float32)[:, None] + jnp.arange(frames, dtype=jnp.float32)[None]
    return Batch(clip=number[:, :, None, None, None], domain=jnp.zeros(rows, jnp.int32))


def relay_passes(relay, passes, rows=8):
    """After every pass: what is banked, how much, and the pass's record."""
    generator, batch = counting(), counting_batch(rows, relay.max_age + 2)
    bank, params = relay.begin(generator, batch, 1, jax.random.key(0)), generator.init(jax.random.key(0))

    @jax.jit
    def one_pass(bank, number):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), number), rows)
        _, aux = relay.loss(params, generator, bank, batch, keys)
        return relay.record(bank, aux, keys, number, jnp.bool_(True)), aux

    for number in range(passes):
        bank, aux = one_pass(bank, jnp.int32(number))
        yield relay.bank.read(bank), int(bank.count[0, 0]), aux


def test_a_prediction_becomes_a_history_followed_by_what_was_recorded():
    relay = Relay(max_age=3, capacity=64)
    for legs, count, _aux in relay_passes(relay, 6):
        kept = jax.tree.map(lambda leaf, n=count: np.asarray(leaf)[0, 0, :n], legs)
        assert (kept.age >= 1).all() and (kept.age <= relay.max_age).all(), "ages outside the window are banked"
        for context, future, age in zip(kept.context, kept.future, kept.age, strict=True):
            number = np.ravel(context)[0]
            recorded = np.round(number - 0.25 * age)
            assert number == recorded + 0.25 * age, "a history of this age is so many quarters too much"
            assert np.ravel(future)[0] == recorded + 1, "the target is not the frame recorded next"
    assert set(kept.age.tolist()) == {1, 2, 3}, "not all ages are met in six passes"


@pytest.mark.parametrize("more", [1, 3])
def test_frames_past_the_last_target_change_nothing(more, keys_of):
    """As where another part of a mixture needs longer clips."""
    relay, generator, keys = Relay(max_age=2, capacity=16), counting(), keys_of(8)
    params, number, is_finite = generator.init(jax.random.key(0)), jnp.int32(0), jnp.bool_(True)

    def banks(frames):
        batch = counting_batch(8, frames)
        bank = relay.begin(generator, batch, 1, jax.random.key(0))
        for _ in range(2):
            loss, aux = relay.loss(params, generator, bank, batch, keys)
            bank = relay.record(bank, aux, keys, number, is_finite)
        return loss, bank

    need = relay.clip_frames(generator)
    jax.tree.map(np.testing.assert_array_equal, banks(need + more), banks(need))


def test_a_history_keeps_the_condition_of_its_clip(keys_of):
    """Batches of other clips and conditions each time; hundreds tell the clip that a frame belongs to."""
    network = Network(init=lambda key: {}, apply=lambda p, x, level, told: x[:, -1:] + 0.01 * told["clip"][:, None])
    generator, relay, met = Predictor(network=network, context_frames=1), Relay(max_age=3, capacity=32), 0

    def batch_of(number):
        clip = 100.0 * (8.0 * number + jnp.arange(8.0))
        frames = clip[:, None] + jnp.arange(5.0)[None]
        told = {"clip": (clip / 100.0)[:, None, None, None]}
        return Batch(clip=frames[:, :, None, None, None], domain=jnp.zeros(8, jnp.int32), condition=told)

    bank = relay.begin(generator, batch_of(0), 1, jax.random.key(0))
    for number in range(4):
        batch, keys = batch_of(number), keys_of(8, seed=number)
        drawn = relay.examples({}, generator, bank, batch, keys)
        told = np.ravel(drawn.example.condition["clip"])
        np.testing.assert_array_equal(told, np.ravel(drawn.example.context) // 100.0)
        met += np.sum(told != np.ravel(batch.condition["clip"]))
        _, aux = relay.loss({}, generator, bank, batch, keys)
        bank = relay.record(bank, aux, keys, jnp.int32(number), jnp.bool_(True))
    assert met > 3, "no history of an earlier batch was met"


def test_a_relay_pays_for_updates_only_and_starts_clean():
    relay = Relay()
    assert relay.calls(counting()).forwards == 3.0
    _, _, aux = next(relay_passes(relay, 1))
    assert aux.clean.all() and aux.empty_draws > 0, "an empty bank leaves rows clean, and they are counted"


def test_rows_of_a_relay_in_a_mixture_make_and_record_what_they_do_alone(keys_of):
    """Every second row is the relay's; the other part reads the bank, which stays as it is."""
    relay, generator, batch = Relay(max_age=2, capacity=64), counting(), counting_batch(8, 4)
    mixture = Mixture(parts=((1, TeacherForcing()), (1, relay)))
    params, is_finite = generator.init(jax.random.key(0)), jnp.bool_(True)
    memory = mixture.begin(generator, batch, 1, jax.random.key(0))
    assert memory.own[0] is None and bank_of(with_bank(memory, 3.0)) == 3.0
    alone, half = memory.own[1], jax.tree.map(lambda leaf: leaf[1::2], (batch, keys_of(8)))
    for number in range(4):
        _, aux = mixture.loss(params, generator, memory, batch, keys_of(8))
        memory = mixture.record(memory, aux, keys_of(8), jnp.int32(number), is_finite)
        _, aux = relay.loss(params, generator, alone, *half)
        alone = relay.record(alone, aux, half[1], jnp.int32(number), is_finite)
    jax.tree.map(np.testing.assert_array_equal, memory.own[1], alone)
    assert memory.bank is None and int(alone.count[0, 0]) > 4


class Silent(Predictor):
    def fit(self, params, example):
        return super().fit(params, example).replace(prediction=None)


def test_a_generator_that_keeps_its_prediction_to_itself_is_refused(keys_of):
    relay, batch, network = Relay(max_age=2, capacity=8), counting_batch(8, 4), counting().network
    silent, params = Silent(network=network, context_frames=1), network.init(jax.random.key(0))
    bank = relay.begin(silent, batch, 1, jax.random.key(0))
    _, aux = relay.loss(params, silent, bank, batch, keys_of(8))
    with pytest.raises(
        ValueError, match="prediction is None, .*: let the generator's fit return it .* or use Pushforward"
    ):
        relay.record(bank, aux, keys_of(8), jnp.int32(0), jnp.bool_(True))


@pytest.mark.parametrize("wrong", [{"max_age": 0}, {"share": 1.0}, {"share": 0.0}])
def test_a_relay_says_what_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Relay(**wrong)
