"""Cleaning while generating: what a step made is cleaned before the next step sees it.

With G any generator, W the newest frames of a window and `clean` any function of windows:

    y = G(context)      W = [context, y]      context' = slide(context, clean(W))               (1)

Two cleaners: `corrector`, a second generator that was trained to turn the erroneous newest frames of a window into
correct ones, from banked errors of any generators (`recycle_jax.histories.correction`); and `washing`, a window
denoiser that was trained on real video alone: noise of a known strength is added, so that the errors drown in it, and
removed (the maths of `errors.rollout.references.Denoised`). The Thermalizer (arXiv 2503.18731) denoises while
generating too, by a level that it estimates.

The generator itself is left as it is, at the price of the cleaner's calls in every step. A fair rival spends them
as well: twice the network, or twice the Euler steps.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.generators.base import Example, Fit, Generator, Levels, anchors_of, slide
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Sigma


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cleaner:
    """What cleans the newest frames of a window.

    Attributes:
        init: `key -> params`.
        clean: `(params, window [b, frames, h, w, c], keys [b], condition) -> [b, chunk, h, w, c]`, the window's newest
            frames as they should be.
        frames: frames of the window.
        calls: its cost, in calls of the inner generator's network: those of a network of the same size are counted
            as they are, others by the ratio of their FLOPs, rounded up.
    """

    init: Callable[[PRNGKey], Params]
    clean: Callable[[Params, Frames, RowKeys, PyTree], Frames]
    frames: int
    calls: int = 1


def corrector(generator: Generator, *, calls: int | None = None) -> Cleaner:
    """A generator whose context is the window and whose chunk the window's newest frames, corrected.

    Args:
        generator: deterministic or not.
        calls: see `Cleaner`; None where its network is as large as the inner generator's.
    """

    def clean(params: Params, window: Frames, keys: RowKeys, condition: PyTree) -> Frames:
        return generator.step(params, generator.begin(params, window, condition), keys, condition)[1]

    return Cleaner(
        init=generator.init,
        clean=clean,
        frames=generator.context_frames,
        calls=generator.calls_per_step if calls is None else calls,
    )


def washing(
    network: Network,
    *,
    frames: int,
    chunk_frames: int = 1,
    levels: tuple[float, ...] = (0.1,),
    calls: int | None = None,
) -> Cleaner:
    """Noise of the first level on the whole window, and down through the others to a clean one.

    Args:
        network: `apply(params, window, level [b], condition) -> window`, as `histories.denoise` trains it.
        frames: frames of the window, context and chunk.
        chunk_frames: newest frames that are kept of it.
        levels: falling standard deviations, stations of a deterministic way down (DDIM, arXiv 2010.02502, equation 12).
        calls: see `Cleaner`; None where the network is as large as the inner generator's.

    Raises:
        ValueError: if the levels do not fall, or no level is given.
    """
    below = (*levels[1:], 0.0)
    if not levels or any(low >= high for high, low in zip(levels, below, strict=True)):
        raise ValueError(f"levels is {levels}, must fall and stay above 0: sort them, such as (0.3, 0.1)")

    def clean(params: Params, window: Frames, keys: RowKeys, condition: PyTree) -> Frames:
        noisy = window + levels[0] * rng.normal_rows(keys, window.shape[1:])
        for level, lower in zip(levels, below, strict=True):
            washed = network.apply(params, noisy, jnp.full(window.shape[0], level, window.dtype), condition)
            noisy = washed + (lower / level) * (noisy - washed)
        return noisy[:, -chunk_frames:]

    return Cleaner(init=network.init, clean=clean, frames=frames, calls=len(levels) if calls is None else calls)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corrected:
    """A generator whose chunks are cleaned; parameters are `{"inner": ..., "corrector": ...}`.

    Training trains the inner generator, whatever the policy, and leaves the cleaner as it is; rollouts, harvests
    among them, are cleaned ones.

    Attributes:
        inner: who generates.
        cleaner: who cleans every chunk.
    """

    inner: Generator
    cleaner: Cleaner

    def __post_init__(self) -> None:
        if anchors_of(self.inner):
            raise ValueError(
                f"inner keeps {anchors_of(self.inner)} anchors, which would slide away: put Anchored around Corrected"
            )
        if self.cleaner.frames < self.inner.chunk_frames:
            raise ValueError(
                f"the cleaner sees {self.cleaner.frames} frames, fewer than the {self.inner.chunk_frames} that a step "
                f"makes: give it a window of {self.inner.chunk_frames} frames or more"
            )

    @property
    def context_frames(self) -> int:
        """Enough for both."""
        return max(self.inner.context_frames, self.cleaner.frames - self.inner.chunk_frames)

    @property
    def chunk_frames(self) -> int:
        """The inner generator's."""
        return self.inner.chunk_frames

    @property
    def calls_per_step(self) -> int:
        """Of both, in calls of the inner generator's network."""
        return self.inner.calls_per_step + self.cleaner.calls

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters of both."""
        of_inner, of_corrector = jax.random.split(key)
        return {"inner": self.inner.init(of_inner), "corrector": self.cleaner.init(of_corrector)}

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """The inner generator's."""
        return self.inner.corruption(keys, chunk)

    def fit(self, params: Params, example: Example) -> Fit:
        """The inner generator's, on the part of the context that it sees."""
        seen = slice(-self.inner.context_frames, None)
        level = example.level if example.level.ndim == 1 else example.level[:, seen]
        return self.inner.fit(
            params["inner"], dataclasses.replace(example, context=example.context[:, seen], level=level)
        )

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """The inner generator's."""
        return self.inner.to_error(residual, sigma)

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Frames:
        """The carry is the context itself, since what the inner generator kept of a chunk is not what became of it."""
        del params, condition
        return context

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """Equation (1); the chunk is the cleaned one."""
        of_inner, of_cleaner = rng.split_rows(keys, 2)
        start = self.inner.begin(params["inner"], carry[:, -self.inner.context_frames :], condition)
        _, made = self.inner.step(params["inner"], start, of_inner, condition)
        window = jnp.concatenate([carry, made], axis=1)[:, -self.cleaner.frames :]
        chunk = self.cleaner.clean(params["corrector"], window, of_cleaner, condition)
        # A chunk of one frame would slide on by one where the generator made several.
        chex.assert_equal_shape((chunk, made))
        return slide(carry, chunk), chunk
