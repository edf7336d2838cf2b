"""How large an error must be to be banked, learned on device: a quantile of the scores of each domain.

Scores differ between domains and fall as the generator learns, so that no fixed number says what is an error worth
keeping. Here a row is one where its score lies above the quantile `level` of its own domain's recent scores. The
quantile `q` of `u = log score` is tracked by stochastic approximation (Robbins and Monro, 1951), in steps of the
radius `s` around it that holds a share `h = min(level, 1 - level)` of the scores. With `k` rows of the domain in a
batch, a share `F` of them at or below `q` and a share `G` farther from it than `s`,

    q <- q + w s (2 / h) (level - F)                                                                  (1)
    s <- s exp(w (2 / h) (G - (1 - h)))                                                               (2)
    w  = k g / (1 + k g),    g = max(rate, 1 / (1 + rows seen))                                       (3)

and no step of (1) longer than `s`. Nothing moves where `F = level`, which is the quantile. Since `h / (2 s)` is the
density of scores at `q`, (1) is Newton's step towards it: `q` is about as exact as the quantile of the last
`2 / rate` rows, at any level and for any distribution. Multiplying all scores by a number changes no decision.

Every logical shard of the bank tracks its own rows: no collective, and the same flags on any number of devices.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax.errors.bank.storage import split_to_shards
from recycle_jax.typing import RowFlags, RowInts, Rows

_LEAST = 1e-20
"""A score of 0 has no logarithm: lower ones count as this."""
_MOST_SEEN = 2**30
_FIRST_SPREAD, _LEAST_SPREAD, _MOST_SPREAD = 0.1, 1e-3, 10.0


@struct.dataclass(kw_only=True)
class Thresholds:
    """What is known of the scores; all leaves `[S, domains]`, sharded over the logical shards `S`.

    Attributes:
        quantile: float32, natural logarithm of a score (scores in units of the frames, squared).
        spread: float32, radius `s` around it, in the same unit.
        seen: int32, rows seen.
    """

    quantile: Any
    spread: Any
    seen: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptiveThreshold:
    """Keeps the errors above a quantile of their own domain.

    Attributes:
        level: share of a domain's rows that are *not* worth banking, in (0, 1).
        domains: how many there are; a label outside `[0, domains)` counts as the nearest.
        rate: one over the rows (of one domain and shard) that the quantile looks back on.
        warmup: rows of a domain and shard that are all banked, before its quantile decides.
    """

    level: float = 0.5
    domains: int = 1
    rate: float = 0.01
    warmup: int = 16

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level={self.level}, but a quantile's level lies between 0 and 1: 0.5 is the median")
        if not 0.0 < self.rate <= min(self.level, 1.0 - self.level):
            raise ValueError(
                f"rate={self.rate}, but the last 1 / rate rows must show the level {self.level}: use a rate above 0, "
                f"at most {min(self.level, 1.0 - self.level):g}"
            )
        if self.domains < 1 or self.warmup < 0:
            raise ValueError(f"{self}, but there is at least 1 domain and a warm-up of 0 rows or more: raise them")

    def init(self, shards: int) -> Thresholds:
        """Nothing seen, in so many logical shards."""
        size = (shards, self.domains)
        return Thresholds(quantile=jnp.zeros(size), spread=jnp.zeros(size), seen=jnp.zeros(size, jnp.int32))

    def __call__(self, state: Thresholds, score: Rows, domain: RowInts, live: RowFlags) -> tuple[RowFlags, Thresholds]:
        """Judges `b` rows by what was known before them, then learns from them.

        Args:
            state: of all shards, or the local ones.
            score: `[b]` float, 0 or more; one that is not finite is neither flagged nor learned from.
            domain: `[b]` int32.
            live: `[b]` bool; the other rows are neither flagged nor learned from.

        Returns:
            `(flags [b] bool, state)`: the rows worth banking, and what is known now.

        Raises:
            ValueError: if `b` is no multiple of the shards.
        """
        shards = state.seen.shape[0]
        score, domain, live = split_to_shards((score.astype(jnp.float32), domain, live), shards)
        live = live & jnp.isfinite(score)
        u = jnp.log(jnp.maximum(jnp.where(live, score, 1.0), _LEAST))
        domain = jnp.clip(domain, 0, self.domains - 1)
        quantile = jnp.take_along_axis(state.quantile, domain, axis=1)
        early = jnp.take_along_axis(state.seen, domain, axis=1) < self.warmup
        member = live[:, :, None] & (domain[:, :, None] == jnp.arange(self.domains, dtype=jnp.int32)[None, None])
        return (live & (early | (u > quantile))).reshape(-1), self._learn(state, u, member)

    def values(self, state: Thresholds) -> Array:
        """`[S, domains]` float32: the scores above which rows are flagged; 0 where nothing was seen."""
        return jnp.where(state.seen > 0, jnp.exp(state.quantile), 0.0)

    def _learn(self, state: Thresholds, u: Array, member: Array) -> Thresholds:
        """Equations (1) to (3); the first rows of a domain set its start. `u` `[S, b]`, `member` `[S, b, domains]`."""
        rows = jnp.sum(member, axis=1, dtype=jnp.int32)
        k = rows.astype(jnp.float32)
        new = (state.seen == 0) & (rows > 0)
        quantile = jnp.where(new, _mean(u[:, :, None], member, k), state.quantile)
        distance = jnp.abs(u[:, :, None] - quantile[:, None])
        far = _mean((distance > state.spread[:, None]).astype(jnp.float32), member, k)
        gain = jnp.maximum(self.rate, 1.0 / (1.0 + state.seen.astype(jnp.float32)))
        weight = k * gain / (1.0 + k * gain)  # 0 without rows: nothing moves
        below = _mean((u[:, :, None] <= quantile[:, None]).astype(jnp.float32), member, k)
        share = min(self.level, 1.0 - self.level)
        step = jnp.clip(2.0 / share * weight * (self.level - below), -1.0, 1.0)
        growth = jnp.exp(2.0 / share * weight * (far - (1.0 - share)))
        spread = jnp.where(new, jnp.maximum(_mean(distance, member, k), _FIRST_SPREAD), state.spread * growth)
        return Thresholds(
            quantile=jnp.where(new, quantile, quantile + step * state.spread),
            spread=jnp.where(state.seen + rows > 0, jnp.clip(spread, _LEAST_SPREAD, _MOST_SPREAD), 0.0),
            seen=jnp.minimum(state.seen + rows, _MOST_SEEN),
        )


def _mean(values: Array, member: Array, k: Array) -> Array:
    """Means over the rows of each domain `[S, domains]`; 0 where there are none."""
    return jnp.sum(jnp.where(member, values, 0.0), axis=1) / jnp.maximum(k, 1.0)
