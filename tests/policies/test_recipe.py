"""The recipe: one set of defaults, and what can be changed of it."""

from recycle_jax import policies
from recycle_jax.errors.draws import Balanced
from recycle_jax.errors.eviction import Reservoir
from recycle_jax.errors.registered import Registered
from recycle_jax.errors.threshold import AdaptiveThreshold
from recycle_jax.policies.recipe import Recycling


def test_the_defaults_serve_slow_and_fast_motion_without_a_simulator():
    recipe = policies.recycle()
    assert isinstance(recipe.reference, Registered) and recipe.reference.registration.time
    assert recipe.reference.brake == 0.2 and recipe.recycling == Recycling(noise=0.05)


def test_what_is_changed_arrives():
    recipe = policies.recycle(noise=0.0, pull=0.25, brake=None)
    assert (recipe.recycling.noise, recipe.reference.pull, recipe.reference.brake) == (0.0, 0.25, None)


def test_rules_of_the_bank_reach_bank_and_policy():
    threshold, rule = AdaptiveThreshold(level=0.25), Balanced(domains=2)
    settings = Recycling(
        replacement=Reservoir(), threshold=threshold, rule=rule, clean_rows=1, case_rows=1, error_rows=1
    )
    bank = settings.bank()
    assert bank.replacement == Reservoir() and bank.threshold == threshold
    _, (_, replay), (_, add) = settings.policy(bank).parts
    assert replay.rule is rule and add.rule is rule
