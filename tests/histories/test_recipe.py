"""The recipe: one set of defaults, and what can be changed of it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import histories
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.draws import Balanced
from recycle_jax.errors.bank.eviction import Reservoir
from recycle_jax.errors.bank.threshold import AdaptiveThreshold
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.provenance import Provenance
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.corrupt import CorruptedHistory
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.recipe import Recycling
from recycle_jax.histories.relay import Relay
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.histories.scheduled import ScheduledSampling
from recycle_jax.models.base import Network


def test_the_defaults_serve_slow_and_fast_motion_without_a_simulator():
    recipe = histories.recycle()
    assert isinstance(recipe.reference, Registered) and recipe.reference.registration.time
    settings = Recycling(noise=0.05, repair_prob=0.5, max_displacement_px=0.4, gradient_normalized=True)
    assert (
        recipe.reference.velocity_damping is None and recipe.recycling == settings and recipe.first == TeacherForcing()
    )
    assert (recipe.temperature, recipe.own_level, recipe.learning_rate) == (0.0, 0.0, 8e-3)


def test_what_is_changed_arrives():
    recipe = histories.recycle(
        noise=0.0, reanchor_rate=0.25, velocity_damping=0.2, trust=0.4, max_displacement_px=None, learning_rate=1e-4
    )
    assert (recipe.recycling.noise, recipe.reference.reanchor_rate, recipe.reference.velocity_damping) == (
        0.0,
        0.25,
        0.2,
    )
    assert (recipe.recycling.trust, recipe.recycling.max_displacement_px, recipe.learning_rate) == (0.4, None, 1e-4)


def test_a_flow_is_cooled_where_it_foretells_and_a_predictor_is_left_alone():
    """The network repeats the newest frame: all of what changes is unexplained, unless it shows the next one."""
    still = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:])
    told = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:] + 0.1)
    ramp = jnp.broadcast_to(0.1 * jnp.arange(3.0).reshape(1, 3, 1, 1, 1), (4, 3, 2, 2, 1))
    batch = Batch(clip=ramp, domain=jnp.zeros(4, jnp.int32))
    recipe = histories.recycle(temperature=0.25, own_level=0.0)
    for network, temperature in ((still, 1.0), (told, 0.25)):
        flow = RectifiedFlow(network=network, context_frames=2)
        assert recipe.generator(flow, {}, batch).temperature == temperature
    predictor = Predictor(network=still, context_frames=2)
    assert recipe.generator(predictor, {}, batch) is predictor


def test_whoever_has_a_network_is_told_of_its_own_frames():
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    recipe = histories.recycle(own_level=0.25)
    assert recipe.told(predictor) == Provenance(inner=predictor, own_level=0.25)
    anchored = Anchored(inner=predictor)
    assert recipe.told(anchored) is anchored, "nobody tells the network of a wrapper"


def test_real_history_is_noised_only_where_one_answer_does_for_both():
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    settings = Recycling(noise=0.1)
    clean = {who: settings.policy(settings.bank(), who).parts[0][1] for who in (predictor, Provenance(inner=predictor))}
    assert clean[predictor] == NoiseAugmentation(most=0.1)
    assert clean[Provenance(inner=predictor)] == TeacherForcing()
    asked = dataclasses.replace(settings, clean_noise=0.2)
    assert asked.policy(asked.bank(), predictor).parts[0][1].most == 0.2
    assert settings.policy(settings.bank(), Provenance(inner=predictor)).parts[1][1].noise == 0.1


def test_real_history_may_be_told_to_be_own(keys_of, batch_of):
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    settings = Recycling(clean_rows=1, case_rows=2, disguised_rows=1, noise=0.1)
    rows, disguised = settings.policy(settings.bank(), predictor).parts[-1]
    assert (rows, disguised) == (1, NoiseAugmentation(most=0.1, disguised=True))
    told = disguised.examples({}, Provenance(inner=predictor, own_level=0.5), None, batch_of(4), keys_of(4))
    assert np.all((told.example.level >= 0.5) & (told.example.level <= 0.6)) and np.all(told.clean)
    untold = disguised.examples({}, predictor, None, batch_of(4), keys_of(4))
    np.testing.assert_array_equal(untold.example.context, told.example.context)
    assert np.all(untold.example.level <= 0.1)


def test_rules_of_the_bank_reach_bank_and_policy():
    threshold, rule = AdaptiveThreshold(level=0.25), Balanced(domains=2)
    settings = Recycling(
        replacement=Reservoir(), threshold=threshold, rule=rule, clean_rows=1, case_rows=1, error_rows=1
    )
    bank = settings.bank()
    assert bank.replacement == Reservoir() and bank.threshold == threshold
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    settings = dataclasses.replace(settings, case_weight=0.25)
    _, (_, replay), (_, add) = settings.policy(bank, predictor).parts
    assert replay.rule is rule and add.rule is rule
    assert (replay.weight, add.weight) == (0.25, 0.25)


def test_real_history_may_hold_own_guesses(predictor):
    recycling = Recycling(guessed=0.5)
    parts = recycling.policy(recycling.bank(), predictor).parts
    assert parts[0] == (1, ScheduledSampling(share=0.5)) and isinstance(parts[1][1], ReplayCases)


def test_an_anchored_generator_meets_its_anchors_at_every_distance(predictor):
    plain, recycling = Anchored(inner=predictor), Recycling(reach=7)
    policy = recycling.policy(recycling.bank(), plain)
    assert isinstance(policy, AnchoredHistory) and policy.reach == 7
    assert policy.inner == recycling.policy(recycling.bank(), predictor)
    assert policy.clip_frames(plain) == predictor.context_frames + predictor.chunk_frames + 7


def test_real_history_may_be_corrupted_in_place_of_noise():
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    recycling = Recycling(noise=0.05, corrupted=CorruptedHistory())
    (_, clean), (_, replay) = recycling.policy(recycling.bank(), predictor).parts
    assert clean == CorruptedHistory() and replay.noise == 0.05, "cases keep their noise"
    both = dataclasses.replace(recycling, guessed=0.5)
    with pytest.raises(ValueError, match="guessed is 0.5 and real history corrupted too"):
        both.policy(both.bank(), predictor)


def test_a_relays_rows_are_shared_out_as_the_bank_is_and_keep_no_anchors():
    predictor = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)
    recycling = Recycling(shards=4, capacity=8, relay_rows=2, relay=Relay(max_age=3, capacity=16))
    policy = recycling.policy(recycling.bank(), predictor)
    assert policy.parts[-1] == (2, Relay(max_age=3, capacity=16))
    batch = Batch(clip=jnp.zeros((1, 6, 2, 2, 1)), domain=jnp.zeros(1, jnp.int32))
    memory = policy.begin(predictor, batch, recycling.shards, jax.random.key(0)).own[-1]
    assert (memory.count.shape, memory.capacity) == ((4, 1), 4)
    odd = Recycling(shards=3, capacity=6)
    assert len(odd.policy(odd.bank(), predictor).parts) == 2, "a relay that is not asked for need not be shared out"
    with pytest.raises(ValueError, match="relay_rows is 2, but Anchored keeps anchors"):
        recycling.policy(recycling.bank(), Anchored(inner=predictor))


def test_chains_end_far_away_only_where_nothing_is_drawn():
    network = Network(init=lambda key: {}, apply=None)
    predictor, flow = (kind(network=network, context_frames=2) for kind in (Predictor, RectifiedFlow))
    settings, cold = Recycling(max_displacement_px=0.4, max_age=5), dataclasses.replace(flow, temperature=0.0)
    assert [settings.harvest(who).max_displacement_px for who in (predictor, cold, flow)] == [0.4, 0.4, None]
    assert settings.harvest(flow).max_age == 5 and Recycling().harvest(predictor).max_displacement_px is None


def test_far_cases_weigh_less_only_where_nothing_is_drawn():
    """What a flow draws moves a rollout away from the clip and is no error."""
    network = Network(init=lambda key: {}, apply=None)
    cold = RectifiedFlow(network=network, context_frames=2, temperature=0.0)
    settings = Recycling(trust=0.4)
    predictor, flow = Predictor(network=network, context_frames=2), dataclasses.replace(cold, temperature=1.0)
    trusted = {who: settings.policy(settings.bank(), who).parts[1][1].trust for who in (predictor, cold, flow)}
    assert trusted == {predictor: 0.4, cold: 0.4, flow: None}
