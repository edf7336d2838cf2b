"""Unrolled training: a rollout of K steps from real history, and a loss on every step's frames.

    context_1 = recorded,   context_{k+1} = slide(context_k, G(context_k)),   loss = mean_k loss(context_k, recorded_k)

against the recorded continuation, with the gradient through time ("WIG", K steps of back-propagation) or without it
("NOG": cut between the steps, so that step k is trained on a history that it is not blamed for). K = 1 is teacher
forcing ("ONE"). Source of the names and of the comparison: List et al., arXiv 2402.12971; one step without gradient
and a loss on the next alone is pushforward, Brandstetter et al., arXiv 2202.03376.

A step's loss is `Generator.fit` at that step's context. A `Predictor`'s prediction is the next chunk at once; other
generators sample it, with c calls more, and the gradient through time goes through the sampler. With the gradient, the
steps after the first may be rematerialised (`jax.checkpoint`), at the price of one forward pass more; else the
activations of all K steps are kept, as they are without it.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Fit, Generator, clean_example, slide
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.stepping import take_steps
from recycle_jax.histories.base import Aux, Calls, ExamplePolicy, require_frames, split_loss
from recycle_jax.histories.ramp import begin_ramp, count_update, progress, require_ramp
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Scalar, Sigma


class _Step(NamedTuple):
    """One step of a rollout: its `Fit`, the noise levels of that, and whether its history is recorded (scalar)."""

    fit: Fit
    sigma: Sigma
    fresh: Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unrolled(ExamplePolicy):
    """Own rollout of K steps, every step compared with the recorded clip.

    Attributes:
        steps: K.
        gradient: whether the gradient goes back through time, through the generated frames.
        rematerialise: whether steps with gradient through time are computed again going back, to hold the activations
            of one at a time. XLA for CPUs may undo it where steps are written out; it is charged all the same.
        ramp: updates over which the length of rollouts rises from 1 to K; 0 starts with K. A shorter rollout starts
            again from the recorded clip when it has reached its length, so that all K steps are trained, and charged,
            from the first update on.
    """

    steps: int
    gradient: bool
    rematerialise: bool = True
    ramp: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, must be at least 1, which is teacher forcing: raise it")
        require_ramp(self.ramp)

    def calls(self, generator: Generator) -> Calls:
        """K losses, the sampling between them, and what rematerialisation repeats."""
        later = self.steps - 1
        sampling = 0 if isinstance(generator, Predictor) else later * generator.calls_per_step
        if self.gradient:
            again = float(later + sampling) if self.rematerialise else 0.0
            return Calls(forward=again, backward=float(self.steps + sampling))
        return Calls(forward=float(sampling), backward=float(self.steps))

    def clip_frames(self, generator: Generator) -> int:
        """A context and K chunks."""
        return generator.context_frames + self.steps * generator.chunk_frames

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """Updates made, `[shards]` int32, where there is a ramp."""
        del generator, batch, key
        return begin_ramp(self.ramp, shards)

    def loss(
        self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys
    ) -> tuple[Scalar, Aux]:
        """Mean loss over rows and steps; the residuals of all steps stand one after the other."""
        require_frames(batch, self.clip_frames(generator), f"{self.steps} unrolled steps", "lower steps")
        steps = self._rollout(params, generator, bank, batch, keys)
        fresh = jnp.broadcast_to(steps.fresh[:, None], steps.fit.loss.shape)
        aux = Aux(
            residual=_one_after_the_other(steps.fit.residual),
            sigma=_one_after_the_other(steps.sigma),
            clean=fresh.all(axis=0),
            domain=batch.domain,
            metrics=split_loss(steps.fit.loss.reshape(-1), fresh.reshape(-1)),
            empty_draws=jnp.int32(0),
        )
        return jnp.mean(steps.fit.loss), aux

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Counts the update."""
        del aux, keys, step
        return count_update(self.ramp, bank, is_finite)

    def _rollout(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> _Step:
        """All K steps, stacked on a new first axis."""
        of_fit, of_sample = rng.split_rows(keys, 2)
        length = 1 + jnp.floor(progress(self.ramp, bank) * (self.steps - 1)).astype(jnp.int32)

        def step(context: Frames, i: Array, fresh: Array) -> _Step:
            here = dataclasses.replace(batch, clip=_recorded(generator, batch, i))
            example = clean_example(generator, here, _at_step(of_fit, i), context=context)
            return _Step(generator.fit(params, example), example.sigma, fresh)

        def later(carry: tuple[Frames, Frames], i: Array) -> tuple[tuple[Frames, Frames], _Step]:
            context = slide(carry[0], self._next_chunk(params, generator, batch, carry, _at_step(of_sample, i)))
            fresh = i % length == 0
            recorded = _recorded(generator, batch, i)[:, : generator.context_frames]
            context = jnp.where(fresh, recorded, context)
            made = step(context, i, fresh)
            return (context, made.fit.prediction), made

        start = batch.clip[:, : generator.context_frames]
        first = step(start, jnp.int32(0), jnp.asarray(True))
        body = jax.checkpoint(later) if self.gradient and self.rematerialise else later
        _, rest = take_steps(body, (start, first.fit.prediction), jnp.arange(1, self.steps, dtype=jnp.int32))
        return jax.tree.map(lambda one, more: jnp.concatenate([one[None], more]), first, rest)

    def _next_chunk(
        self, params: Params, generator: Generator, batch: Batch, carry: tuple[Frames, Frames], keys: RowKeys
    ) -> Frames:
        """The chunk after a context; `carry` is the context and what `fit` predicted there."""
        context, prediction = carry
        if not self.gradient:
            params = jax.lax.stop_gradient(params)
        if isinstance(generator, Predictor):
            chunk = prediction
        else:
            begun = generator.begin(params, context, batch.condition)
            _, chunk = generator.step(params, begun, keys, batch.condition)
        return chunk if self.gradient else jax.lax.stop_gradient(chunk)


def _recorded(generator: Generator, batch: Batch, i: Array) -> Frames:
    """The recorded context and chunk of step `i`."""
    size = generator.context_frames + generator.chunk_frames
    return jax.lax.dynamic_slice_in_dim(batch.clip, i * generator.chunk_frames, size, axis=1)


def _at_step(keys: RowKeys, i: Array) -> RowKeys:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, i)


def _one_after_the_other(stacked: Array) -> Array:
    """`[k, b, t, ...]` to `[b, k * t, ...]`."""
    return jnp.moveaxis(stacked, 0, 1).reshape(stacked.shape[1], -1, *stacked.shape[3:])
