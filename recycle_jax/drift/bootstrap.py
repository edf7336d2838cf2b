"""The hierarchical bootstrap, as weights: seeds are resampled, then rollouts within each drawn seed.

A resample is the number of times each rollout was drawn. A seed drawn `c` times contributes `c` independent
draws of its `n` rollouts, that is one multinomial of `c·n` draws. Statistics that accept weights are then
computed for all resamples at once.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num, Shaped


def draw_seeds(seeds: int, resamples: int, rng: np.random.Generator) -> Num[np.ndarray, "resamples seeds"]:
    """Returns how often each seed is drawn in each resample; rows sum to `seeds`."""
    return rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples)


def draw_rollouts(
    drawn: Num[np.ndarray, "resamples seeds"], sizes: Sequence[int], rng: np.random.Generator
) -> Num[np.ndarray, "resamples rollouts"]:
    """Returns how often each rollout is drawn, seed after seed along the last axis.

    Args:
        drawn: how often each seed is drawn; shared by methods that are compared in pairs.
        sizes: rollouts of each seed.
        rng: seeded generator.
    """
    columns = [rng.multinomial(drawn[:, seed] * size, np.full(size, 1.0 / size)) for seed, size in enumerate(sizes)]
    return np.concatenate(columns, axis=1)


def hierarchical_weights(
    sizes: Sequence[int], resamples: int, rng: np.random.Generator
) -> Num[np.ndarray, "resamples rollouts"]:
    """Returns the weights of a hierarchical bootstrap over seeds with `sizes` rollouts each.

    Raises:
        ValueError: if there is no seed or a seed without rollouts.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"seeds have {list(sizes)} rollouts: every seed needs at least one")
    return draw_rollouts(draw_seeds(len(sizes), resamples, rng), sizes, rng)


def weighted_median(
    values: Num[np.ndarray, "places rollouts"], weights: Num[np.ndarray, "resamples rollouts"]
) -> Float[np.ndarray, "resamples places"]:
    """Returns the (lower) median over rollouts at each place, for each resample."""
    medians = np.empty((len(weights), len(values)))
    for place, row in enumerate(values):
        order = np.argsort(row)
        heaviness = np.cumsum(weights[:, order], axis=1)
        medians[:, place] = row[order][np.argmax(2 * heaviness >= heaviness[:, -1:], axis=1)]
    return medians


def mean_with_ci(
    samples: Sequence[Shaped[np.ndarray, " rollouts"]], resamples: int, rng: np.random.Generator
) -> list[float]:
    """Returns `[mean, lo, hi]` over seeds of rollouts: the mean and its 95 % bootstrap interval."""
    values = np.concatenate(samples).astype(np.float64)
    weights = hierarchical_weights([len(sample) for sample in samples], resamples, rng)
    means = weights @ values / weights.sum(axis=1)
    return [float(values.mean()), *interval(means)]


def interval(values: Num[np.ndarray, " n"]) -> list[float]:
    """Returns the 2.5 % and 97.5 % quantiles, of values that occurred."""
    return [float(q) for q in np.quantile(values, [0.025, 0.975], method="nearest")]
