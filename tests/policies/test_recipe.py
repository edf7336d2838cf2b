"""The recipe: one set of defaults, and what can be changed of it."""

import dataclasses

import jax.numpy as jnp

from experiments.arena import Choices
from experiments.compare import Config
from experiments.methods import registered
from recycle_jax import policies
from recycle_jax.data.base import Batch
from recycle_jax.errors.draws import Balanced
from recycle_jax.errors.eviction import Reservoir
from recycle_jax.errors.registered import Registered
from recycle_jax.errors.threshold import AdaptiveThreshold
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.models.base import Network
from recycle_jax.policies.recipe import Recycling


@dataclasses.dataclass(frozen=True)
class Place:
    choices: Choices
    kind: str


def test_the_defaults_serve_slow_and_fast_motion_without_a_simulator():
    recipe = policies.recycle()
    assert isinstance(recipe.reference, Registered) and recipe.reference.registration.time
    assert recipe.reference.brake is None and recipe.recycling == Recycling(noise=0.05)
    assert recipe.temperature == 0.5


def test_what_is_changed_arrives():
    recipe = policies.recycle(noise=0.0, pull=0.25, brake=0.2)
    assert (recipe.recycling.noise, recipe.reference.pull, recipe.reference.brake) == (0.0, 0.25, 0.2)


def test_a_flow_is_cooled_where_it_foretells_and_a_predictor_is_left_alone():
    """The network repeats the newest frame: all of what changes is unexplained, unless it shows the next one."""
    still = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:])
    told = Network(init=lambda key: {}, apply=lambda params, noisy, sigma, context, *rest: context[:, -1:] + 0.1)
    ramp = jnp.broadcast_to(0.1 * jnp.arange(3.0).reshape(1, 3, 1, 1, 1), (4, 3, 2, 2, 1))
    batch = Batch(clip=ramp, domain=jnp.zeros(4, jnp.int32))
    recipe = policies.recycle(temperature=0.25)
    for network, temperature in ((still, 1.0), (told, 0.25)):
        flow = RectifiedFlow(network=network, context_frames=2)
        assert recipe.generator(flow, {}, batch).temperature == temperature
    predictor = Predictor(network=still, context_frames=2)
    assert recipe.generator(predictor, {}, batch) is predictor


def test_the_comparison_runs_the_recipe_with_its_defaults():
    """`ours=loose,cooled`, the chosen setting, is `recycle()` and nothing else."""
    choices, recipe = dataclasses.replace(Config().choices, brake=None, flow_brake=None), policies.recycle()
    for kind in ("predictor", "flow"):
        assert registered(Place(choices=choices, kind=kind)) == recipe.reference
    assert Config().recycling == recipe.recycling


def test_rules_of_the_bank_reach_bank_and_policy():
    threshold, rule = AdaptiveThreshold(level=0.25), Balanced(domains=2)
    settings = Recycling(
        replacement=Reservoir(), threshold=threshold, rule=rule, clean_rows=1, case_rows=1, error_rows=1
    )
    bank = settings.bank()
    assert bank.replacement == Reservoir() and bank.threshold == threshold
    _, (_, replay), (_, add) = settings.policy(bank).parts
    assert replay.rule is rule and add.rule is rule
