"""Draws by rule: how often each entry comes, that its weight makes up for it, and what a draw costs."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.draws import Balanced, DrawRule, Prioritised

CAPACITY, SLOTS, ROWS = 8, 2, 6000
BANK = ErrorBank(slots=SLOTS, capacity=CAPACITY)


@struct.dataclass(kw_only=True)
class Entry:
    """Frames that no rule may look at, and tags."""

    frames: object
    domain: object
    score: object


def bank_with(domains, scores, slots=None, side=1):
    """One shard with entries of these tags, their number in `frames`."""
    n = len(domains)
    shape = jax.ShapeDtypeStruct((side, side), jnp.bfloat16)
    number = jax.ShapeDtypeStruct((), jnp.int32)
    state = BANK.init(Entry(frames=shape, domain=number, score=jax.ShapeDtypeStruct((), jnp.float32)))
    rows = Entry(
        frames=jnp.broadcast_to(jnp.arange(n, dtype=jnp.float32)[:, None, None], (n, side, side)),
        domain=jnp.asarray(domains, jnp.int32),
        score=jnp.asarray(scores, jnp.float32),
    )
    slot = jnp.arange(n, dtype=jnp.int32) // CAPACITY if slots is None else jnp.asarray(slots, jnp.int32)
    return BANK.insert(state, rows, slot, jnp.ones(n, bool))


draw = jax.jit(BANK.draw)
KEYS = jax.random.split(jax.random.key(0), ROWS)


def seen(state, rule, n):
    """How often each of `n` entries was drawn, as shares, and the weight that each came with."""
    drawn = draw(state, KEYS, rule)
    assert drawn.found.all()
    entry = np.asarray(drawn.entries.frames[:, 0, 0], np.int32)
    weight = np.zeros(n)
    weight[entry] = drawn.weight
    np.testing.assert_array_equal(weight[entry], drawn.weight, "the weight of an entry is always the same")
    return np.bincount(entry, minlength=n) / ROWS, weight


def assert_drawn(shares, wanted):
    """Within five standard deviations."""
    wanted = np.asarray(wanted, float)
    bound = 5.0 * np.sqrt(wanted * (1.0 - wanted) / ROWS) + 1e-9
    assert np.all(np.abs(shares - wanted) <= bound), f"drawn {shares}, asked for {wanted}"


def test_each_domain_present_is_drawn_as_often_as_another():
    domains = [0] * 9 + [2] + [3, 3]  # none of domain 1, over both slots
    shares, weight = seen(bank_with(domains, np.ones(12)), Balanced(domains=4), 12)
    wanted = [1 / 27] * 9 + [1 / 3] + [1 / 6] * 2
    assert_drawn(shares, wanted)
    np.testing.assert_allclose(weight, 1.0 / (12 * np.asarray(wanted)), rtol=1e-6)


def test_a_domain_out_of_range_counts_as_the_nearest():
    shares, _ = seen(bank_with([-5, 0, 7], np.ones(3)), Balanced(domains=2), 3)
    assert_drawn(shares, [0.25, 0.25, 0.5])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_an_entry_is_drawn_as_its_score_to_the_exponent(exponent):
    scores = np.asarray([0.1, 0.4, 0.2, 0.05, 0.3, 0.1, 0.9, 0.01, 0.7, 0.6])
    shares, weight = seen(bank_with(np.zeros(10), scores), Prioritised(exponent=exponent), 10)
    wanted = scores**exponent / np.sum(scores**exponent)
    assert_drawn(shares, wanted)
    drawn = shares > 0
    np.testing.assert_allclose(weight[drawn], 1.0 / (10 * wanted[drawn]), rtol=1e-3)


@pytest.mark.parametrize("rule", [Balanced(domains=3), Prioritised(exponent=0.7)])
def test_weights_make_the_mean_over_draws_the_mean_over_entries(rule):
    rng = np.random.default_rng(1)
    domains, scores, loss = [0] * 8 + [1] * 3 + [2], rng.uniform(0.2, 1.0, 12), rng.normal(size=12)
    drawn = draw(bank_with(domains, scores), KEYS, rule)
    entry = np.asarray(drawn.entries.frames[:, 0, 0], np.int32)
    weighted = np.asarray(drawn.weight) * loss[entry]
    error = np.std(weighted) / np.sqrt(ROWS)
    assert abs(weighted.mean() - loss.mean()) < 5 * error
    assert abs(np.mean(drawn.weight) - 1.0) < 5 * np.std(drawn.weight) / np.sqrt(ROWS)
    assert abs(loss[entry].mean() - loss.mean()) > 5 * error, "without weights it is another mean"


@hypothesis.given(
    st.lists(st.sampled_from([0.0, -1.0, 1e-30, 1.0, 1e30, np.nan, np.inf]), min_size=5, max_size=5),
    st.sampled_from([0.0, 1.0, 3.5]),
)
def test_no_score_makes_a_draw_fail(scores, exponent):
    drawn = draw(bank_with(np.zeros(5), scores), KEYS[:64], Prioritised(exponent=exponent))
    entry = np.asarray(drawn.entries.frames[:, 0, 0], np.int32)
    assert drawn.found.all() and np.all((entry >= 0) & (entry < 5))
    assert np.isfinite(drawn.weight).all() and np.all(np.asarray(drawn.weight) > 0.0)
    likely = [i for i, score in enumerate(scores) if np.isfinite(score) and score == np.nanmax(_finite(scores))]
    assert exponent == 0.0 or max(_finite(scores)) <= 0.0 or set(entry) & set(likely)


def _finite(scores):
    return [score if np.isfinite(score) else 0.0 for score in scores]


@pytest.mark.parametrize("rule", [Balanced(domains=3), Prioritised()])
def test_only_entries_of_allowed_slots_are_drawn_and_none_from_an_empty_bank(rule):
    assert isinstance(rule, DrawRule)
    state = bank_with([0, 1, 2, 0, 1, 2], [1.0] * 6, slots=[0, 1, 0, 1, 0, 1])
    first = dataclasses.replace(rule, allowed=jnp.asarray([True, False]))
    entry = np.asarray(draw(state, KEYS[:200], first).entries.frames[:, 0, 0], np.int32)
    assert set(entry.tolist()) == {0, 2, 4}
    for bank, narrow in (
        (jax.tree.map(jnp.zeros_like, state), rule),
        (state, dataclasses.replace(rule, allowed=jnp.asarray([False, False]))),
    ):
        drawn = draw(bank, KEYS[:8], narrow)
        assert not drawn.found.any() and not drawn.entries.score.any()
        np.testing.assert_array_equal(drawn.weight, np.ones(8))
    with pytest.raises(ValueError, match="one flag a slot"):
        BANK.draw(state, KEYS[:8], dataclasses.replace(rule, allowed=jnp.ones(3, bool)))


@pytest.mark.parametrize("rule", [Balanced(domains=3), Prioritised()])
def test_a_draw_depends_on_its_key_and_shard_only(rule):
    bank = ErrorBank(shards=2, slots=SLOTS, capacity=CAPACITY)
    halves = [bank_with([0, 1, 1, 2], [0.1, 0.5, 0.2, 0.9]), bank_with([2, 2, 0], [0.3, 0.2, 0.8])]
    whole = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *halves)
    both = jax.jit(bank.draw)(whole, KEYS[:64], rule)
    one = draw(halves[1], KEYS[32:64], rule)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[32:], b), both, one)


@pytest.mark.parametrize("rule", [Balanced(domains=3), Prioritised()])
def test_the_size_of_a_frame_costs_the_drawn_rows_only(rule):
    def cost(side):
        state = jax.eval_shape(lambda: bank_with([0], [1.0], side=side))
        compiled = jax.jit(lambda state: BANK.draw(state, KEYS[:2], rule)).lower(state).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    rows = 2 * 64 * 64 * 2
    bank = SLOTS * CAPACITY * 64 * 64 * 2
    assert cost(64) - cost(1) < 3 * rows < bank


def test_impossible_rules_are_refused():
    with pytest.raises(ValueError, match="raise domains"):
        Balanced(domains=0)
    with pytest.raises(ValueError, match="use 0"):
        Prioritised(exponent=-1.0)
    state = bank_with([0], [1.0])
    with pytest.raises(ValueError, match="one number each"):
        BANK.draw(state, KEYS[:2], Prioritised(score=lambda entry: entry.frames))
