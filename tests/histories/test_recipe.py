"""The recipe: one set of defaults, and what can be changed of it."""

import dataclasses

import jax.numpy as jnp
import pytest

from recycle_jax import histories
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.draws import Balanced
from recycle_jax.errors.bank.eviction import Reservoir
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.generators.anchored import Anchored
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.anchor import AnchoredHistory
from recycle_jax.histories.noise import NoiseAugmentation
from recycle_jax.histories.recipe import Recycling
from recycle_jax.histories.replay import ReplayCases
from recycle_jax.models.base import Network

PREDICTOR = Predictor(network=Network(init=lambda key: {}, apply=None), context_frames=2)


def test_the_defaults_serve_slow_and_fast_motion_without_a_simulator():
    recipe = histories.recycle()
    assert isinstance(recipe.reference, Registered) and recipe.reference.registration.time
    settings = Recycling()
    assert recipe.reference.velocity_damping is None and recipe.recycling == settings
    assert (recipe.temperature, recipe.learning_rate) == (0.0, 8e-3)
    assert len(dataclasses.fields(Recycling)) <= 14, "a setting that loses leaves"


def test_what_is_changed_arrives():
    recipe = histories.recycle(
        noise=0.0, reanchor_rate=0.25, velocity_damping=0.2, max_displacement_px=None, learning_rate=1e-4
    )
    reference, recycling = recipe.reference, recipe.recycling
    assert (recycling.noise, reference.reanchor_rate, reference.velocity_damping) == (0.0, 0.25, 0.2)
    assert (recycling.max_displacement_px, recipe.learning_rate) == (None, 1e-4)


def test_a_flow_is_cooled_where_it_foretells_and_a_predictor_is_left_alone():
    """The network repeats the newest frame: all of what changes is unexplained, unless it shows the next one."""
    still = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:])
    told = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:] + 0.1)
    ramp = jnp.broadcast_to(0.1 * jnp.arange(3.0).reshape(1, 3, 1, 1, 1), (4, 3, 2, 2, 1))
    batch = Batch(clip=ramp, domain=jnp.zeros(4, jnp.int32))
    recipe = histories.recycle(temperature=0.25)
    for network, temperature in ((still, 1.0), (told, 0.25)):
        flow = RectifiedFlow(network=network, context_frames=2)
        assert recipe.generator(flow, {}, batch).temperature == temperature
    predictor = Predictor(network=still, context_frames=2)
    assert recipe.generator(predictor, {}, batch) is predictor


def test_rules_of_the_bank_reach_bank_and_policy():
    rule = Balanced(domains=2)
    settings = Recycling(replacement=Reservoir(), rule=rule)
    bank = settings.bank()
    assert bank.replacement == Reservoir()
    _, (_, replay) = settings.policy(bank, PREDICTOR).parts
    assert replay == ReplayCases(bank=bank, noise=0.05, rule=rule, repair_prob=0.5)


@pytest.mark.parametrize(("fraction", "rows"), [(0.5, [1, 1]), (0.25, [3, 1]), (1 / 3, [2, 1]), (0.0, [1]), (1.0, [1])])
def test_rows_are_shared_out_as_the_fraction_says(fraction, rows):
    settings = Recycling(replay_fraction=fraction)
    parts = settings.policy(settings.bank(), PREDICTOR).parts
    assert [share for share, _ in parts] == rows
    assert isinstance(parts[-1][1], ReplayCases) == (fraction > 0.0)
    assert isinstance(parts[0][1], NoiseAugmentation) == (fraction < 1.0)


@pytest.mark.parametrize(("fraction", "nearest"), [(0.53, "8/15"), (1.5, "1"), (-0.5, "0")])
def test_a_fraction_of_no_few_rows_is_refused_with_the_nearest(fraction, nearest):
    with pytest.raises(ValueError, match=f"replay_fraction is {fraction}.*use {nearest}$"):
        Recycling(replay_fraction=fraction)


def test_an_anchored_generator_meets_its_anchors_at_every_distance(predictor):
    plain, recycling = Anchored(inner=predictor), Recycling(max_anchor_gap=7)
    policy = recycling.policy(recycling.bank(), plain)
    assert isinstance(policy, AnchoredHistory) and policy.max_gap == 7
    assert policy.inner == recycling.policy(recycling.bank(), predictor)
    assert policy.clip_frames(plain) == predictor.context_frames + predictor.chunk_frames + 7


def test_chains_end_far_away_only_where_nothing_is_drawn():
    network = Network(init=lambda key: {}, apply=None)
    predictor, flow = (kind(network=network, context_frames=2) for kind in (Predictor, RectifiedFlow))
    settings, cold = Recycling(max_displacement_px=0.4, max_age=5), dataclasses.replace(flow, temperature=0.0)
    assert [settings.harvest(who).max_displacement_px for who in (predictor, cold, flow)] == [0.4, 0.4, None]
    assert (
        settings.harvest(flow).max_age == 5
        and Recycling(max_displacement_px=None).harvest(predictor).max_displacement_px is None
    )
