"""The adaptive threshold: it is the quantile, domain by domain, whatever the scores are and whatever else arrives."""

import dataclasses

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.errors.bank.bank import ErrorBank
from recycle_jax.errors.bank.threshold import AdaptiveThreshold

ROWS, SHARDS = 32, 2
DISTRIBUTIONS = (
    lambda key, shape: jnp.exp(1.5 * jax.random.normal(key, shape)),
    lambda key, shape: 1e-4 * jax.random.exponential(key, shape),
    lambda key, shape: 7.0 + jax.random.uniform(key, shape),
    lambda key, shape: (
        jnp.where(jax.random.bernoulli(key, 0.3, shape), 100.0, 0.01)
        * (1.0 + jax.random.uniform(jax.random.fold_in(key, 1), shape))
    ),
)
"""Broad, tiny, narrow and two-humped."""
RULE = AdaptiveThreshold(level=0.8, domains=4, rate=0.0025)


def batches(steps, seed=0):
    """`steps` batches of scores `[steps, rows]`, each row from the distribution of its domain."""
    of_domain, of_score = jax.random.split(jax.random.key(seed))
    domain = jax.random.randint(of_domain, (steps, ROWS), 0, len(DISTRIBUTIONS), jnp.int32)
    drawn = jnp.stack([draw(of_score, domain.shape) for draw in DISTRIBUTIONS])
    return jnp.take_along_axis(drawn, domain[None], axis=0)[0], domain


def scanned(rule, state, score, domain, live):
    """Flags of all batches `[steps, rows]` and the last state."""

    def one(state, batch):
        flags, state = rule(state, *batch)
        return state, flags

    state, flags = jax.lax.scan(one, state, (score, domain, live))
    return flags, state


compiled = jax.jit(scanned, static_argnums=0)


def track(rule, state, score, domain, live=None):
    return compiled(rule, state, score, domain, jnp.ones(score.shape, bool) if live is None else live)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.8, 0.95])
def test_it_settles_at_the_quantile_of_each_domain(level):
    rule = dataclasses.replace(RULE, level=level)
    flags, state = track(rule, rule.init(SHARDS), *batches(300))
    values = rule.values(state)
    for domain, draw in enumerate(DISTRIBUTIONS):
        fresh = draw(jax.random.key(9), (20_000,))
        below = np.mean(np.asarray(fresh)[None] <= np.asarray(values)[:, domain, None])  # of both shards
        assert abs(below - level) < 0.06, f"domain {domain}: {below} of the scores lie below, {level} asked"
    np.testing.assert_allclose(np.mean(flags[150:]), 1.0 - level, atol=0.03)


@hypothesis.given(st.integers(0, 3), st.integers(0, 1000))
def test_a_domain_is_told_nothing_by_another(domain, seed):
    score, label = batches(20)
    other, _ = batches(20, seed + 1)
    mixed = jnp.where(label == domain, score, 3.0 * other)
    flags, state = track(RULE, RULE.init(SHARDS), score, label)
    mixed_flags, mixed_state = track(RULE, RULE.init(SHARDS), mixed, label)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:, domain], b[:, domain]), state, mixed_state)
    np.testing.assert_array_equal(flags[label == domain], mixed_flags[label == domain])


@hypothesis.given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 1000))
def test_what_is_not_a_number_or_not_live_is_not_there(bad, seed):
    score, label = batches(20)
    out = jax.random.bernoulli(jax.random.key(seed), 0.4, score.shape)
    flags, state = track(RULE, RULE.init(SHARDS), jnp.where(out, bad, score), label)
    left_out_flags, left_out = track(RULE, RULE.init(SHARDS), score, label, ~out)
    jax.tree.map(np.testing.assert_array_equal, state, left_out)
    np.testing.assert_array_equal(flags, left_out_flags)
    assert not np.any(flags & out)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("factor", [1000.0, 0.03])
def test_the_unit_of_the_score_changes_no_decision(factor):
    score, label = batches(20)
    flags, _ = track(RULE, RULE.init(SHARDS), score, label)
    other, _ = track(RULE, RULE.init(SHARDS), factor * score, label)
    assert np.mean(flags != other) < 0.002, "more than rounding can account for"


def test_it_follows_a_generator_that_improves():
    score, label = batches(300)
    rule = dataclasses.replace(RULE, rate=0.01)
    _, state = track(rule, rule.init(SHARDS), score, label)
    _, later = track(rule, state, 0.01 * score, label)
    np.testing.assert_allclose(later.quantile - state.quantile, np.log(0.01), atol=0.7)


def test_until_it_knows_a_domain_everything_is_banked():
    rule = AdaptiveThreshold(level=0.8, warmup=6, domains=2)
    state = rule.init(1)
    score, label, live = jnp.asarray([0.1, 1.0, 1.2, 1.0]), jnp.asarray([0, 0, 0, 1]), jnp.ones(4, bool)
    kept = []
    for _ in range(4):
        flags, state = rule(state, score, label, live)
        kept.append(np.asarray(flags))
    np.testing.assert_array_equal(kept[:2], np.ones((2, 4), bool))
    assert not kept[2][0] and kept[2][3], "six rows of domain 0 were seen, and two of domain 1"
    np.testing.assert_array_equal(state.seen, [[12, 4]])


def test_scores_of_0_do_no_harm():
    _, state = track(RULE, RULE.init(SHARDS), jnp.zeros((20, ROWS)), jnp.zeros((20, ROWS), jnp.int32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    np.testing.assert_array_equal(RULE.values(state)[:, 1:], 0.0)


def test_a_shard_by_itself_judges_as_it_does_among_others():
    score, label = batches(20)
    flags, state = track(RULE, RULE.init(SHARDS), score, label)
    half = lambda rows: rows[:, ROWS // 2 :]  # noqa: E731
    own, alone = track(RULE, RULE.init(1), half(score), half(label))
    np.testing.assert_array_equal(half(flags), own)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1:], b), state, alone)


def test_a_bank_admits_by_its_threshold_and_carries_what_it_knows():
    bank = ErrorBank(shards=SHARDS, capacity=64, threshold=AdaptiveThreshold(level=0.5, warmup=0))
    state = bank.init(jax.ShapeDtypeStruct((), jnp.float32))
    slot, domain, live = jnp.zeros(ROWS, jnp.int32), jnp.zeros(ROWS, jnp.int32), jnp.arange(ROWS) % 4 > 0

    @jax.jit
    def step(state, score):
        write, state = bank.admit(state, score, domain, live)
        return bank.insert(state, score, slot, write)

    for i in range(4):
        state = step(state, jax.random.uniform(jax.random.key(i), (ROWS,)))
    assert state.thresholds.seen.sum() == 4 * ROWS * 3 // 4
    assert 0 < state.inserted.sum() < 4 * ROWS * 3 // 4
    plain = dataclasses.replace(bank, threshold=None)
    empty = plain.init(jax.ShapeDtypeStruct((), jnp.float32))
    write, same = plain.admit(empty, jnp.ones(ROWS), domain, live)
    assert write is live and same is empty and empty.thresholds is None


@pytest.mark.parametrize(
    "fields,said",
    [
        ({"level": 1.0}, "between 0 and 1"),
        ({"level": 0.95, "rate": 0.1}, "at most 0.05"),
        ({"rate": 0.0}, "above 0"),
        ({"domains": 0}, "raise them"),
    ],
)
def test_what_cannot_be_tracked_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        AdaptiveThreshold(**fields)
