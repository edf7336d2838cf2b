"""The stochastic generator: rectified flow over the next chunk, conditioned on the context.

Maths and equation numbers in `recycle_jax.flow_matching`. The network's raw output becomes a velocity through a
*head*: `velocity_head` takes it as it is; `data_head` takes it as the clean chunk, ``v_hat = (x_sigma - x0_hat) /
sigma``, so that a bounded network can never leave [-1, 1] at the end of sampling.

Loss: ``w(sigma) ||v_hat - v*||^2``. The weight ``sigma^2`` makes it the squared error of the clean chunk.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.generators.base import Example, Fit, Levels, require_same_shape, slide
from recycle_jax.generators.stepping import take_steps
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Rows, Sigma

Head = Callable[[Frames, Frames, Sigma], Frames]


def velocity_head(raw: Frames, x_sigma: Frames, sigma: Sigma) -> Frames:
    """The network's output is the velocity."""
    del x_sigma, sigma
    return raw


def data_head(raw: Frames, x_sigma: Frames, sigma: Sigma) -> Frames:
    """The network's output is the clean chunk."""
    return (x_sigma - raw) / fm.over_frames(jnp.maximum(sigma, fm.SMALLEST_SIGMA))


def data_weight(sigma: Array) -> Array:
    """`sigma^2`: the loss is the squared error of the clean chunk."""
    return jnp.square(sigma)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RectifiedFlow:
    """A flow-matching generator of chunks.

    Attributes:
        network: `apply(params, noisy, sigma, context, level, condition) -> [b, chunk_frames, h, w, c]`.
        context_frames: frames of history.
        chunk_frames: frames a step produces.
        steps: Euler steps of the sampler.
        shift: schedule shift, in training and sampling alike.
        head: turns the raw output into a velocity.
        weight: `w(sigma)` of the loss.
        temperature: standard deviation of the noise that sampling starts from, in [0, 1]; 1 samples from what was
            learned, less from its middle, 0 always gives the same chunk. Where the next chunk follows from the context
            but not quite for the network, what a draw adds is jitter, and jitter makes a rollout's speed walk.
    """

    network: Network
    context_frames: int
    chunk_frames: int = 1
    steps: int = 4
    shift: float = 1.0
    head: Head = data_head
    weight: Callable[[Array], Array] = data_weight
    temperature: float = 1.0

    def __post_init__(self) -> None:
        fm.euler_schedule(self.steps, self.shift)
        if not 0.0 <= self.temperature <= 1.0:
            raise ValueError(
                f"temperature is {self.temperature}, must lie in [0, 1]: 1 samples as trained, 0 draws nothing"
            )

    @property
    def calls_per_step(self) -> int:
        """A chunk is one call an Euler step."""
        return self.steps

    @property
    def is_deterministic(self) -> bool:
        """At temperature 0 only."""
        return self.temperature == 0.0

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters."""
        return self.network.init(key)

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """One shifted uniform sigma a row, the same for all frames of the chunk."""
        of_sigma, of_noise = rng.split_rows(keys, 2)
        sigma = fm.shift_sigma(rng.uniform_rows(of_sigma), self.shift)
        return Levels(
            sigma=jnp.broadcast_to(sigma[:, None], chunk.shape[:2]),
            noise=rng.normal_rows(of_noise, chunk.shape[1:]),
        )

    def fit(self, params: Params, example: Example) -> Fit:
        """Velocity matching at the injected trajectory; see `flow_matching` (7) and (8) for the target."""
        x_sigma = fm.interpolate(example.x_injected, example.noise_injected, example.sigma)
        v_hat = self._velocity(params, x_sigma, example.sigma, example.context, example.level, example.condition)
        v_star = example.target(example.x0, example.x_injected, example.noise_injected, example.sigma)
        require_same_shape("the velocity", v_hat, "its target", v_star, "let head and target keep the chunk's shape")
        residual = v_hat - v_star
        frame_loss = self.weight(example.sigma) * jnp.mean(jnp.square(residual), axis=(2, 3, 4))
        prediction = fm.data_end(x_sigma, v_hat, example.sigma)
        return Fit(loss=frame_loss.mean(axis=1), prediction=prediction, residual=residual)

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """`E_data = -sigma r`."""
        return -fm.over_frames(sigma) * residual

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Frames:
        """The carry is the context itself."""
        del params, condition
        return context

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """Samples one chunk with `steps` Euler steps from fresh noise of the temperature's strength.

        In float32, as in training; the chunk has the context's dtype.
        """
        noise = self.temperature * rng.normal_rows(keys, (self.chunk_frames, *carry.shape[2:]))
        seen = carry.astype(noise.dtype)
        made = self._solved(params, noise, fm.euler_schedule(self.steps, self.shift), seen, condition)
        chunk = made.astype(carry.dtype)
        return slide(carry, chunk), chunk

    def denoise(self, params: Params, x_sigma: Frames, sigma: Rows, context: Frames, condition: PyTree) -> Frames:
        """Samples on from a chunk that is already at noise level `sigma`, each row from its own.

        The stations are the sampler's own, scaled to `sigma`: all `steps` calls move, whatever `sigma`.

        Args:
            params: of the network.
            x_sigma: `[b, t, h, w, c]` noised chunk, `flow_matching` (1).
            sigma: `[b]` in [0, 1].
            context: `[b, context, h, w, c]` what the chunk follows.
            condition: per-row pytree for the network, or None.

        Returns:
            `[b, t, h, w, c]` the chunk at noise level 0; `x_sigma` itself where `sigma` is 0.
        """
        stations = fm.euler_schedule(self.steps, self.shift)[:, None] * sigma[None]
        return self._solved(params, x_sigma, stations, context, condition)

    def _solved(self, params: Params, x: Frames, sigmas: Array, context: Frames, condition: PyTree) -> Frames:
        """Euler steps along `sigmas`, `[steps + 1]` for all rows or `[steps + 1, b]`."""
        level = jnp.zeros(x.shape[0], x.dtype)

        def euler(x: Frames, pair: Array) -> tuple[Frames, None]:
            now, then = pair.reshape(2, -1, 1)  # [1 or b, 1]
            v = self._velocity(params, x, jnp.broadcast_to(now, x.shape[:2]), context, level, condition)
            return x + fm.over_frames(then - now) * v, None

        x, _ = take_steps(euler, x, jnp.stack([sigmas[:-1], sigmas[1:]], axis=1))
        return x

    def _velocity(
        self, params: Params, x: Frames, sigma: Sigma, context: Frames, level: Array, condition: PyTree
    ) -> Frames:
        raw = self.network.apply(params, x, sigma, context, level, condition)
        remedy = "build the network for the chunk_frames of the generator and the frames of the clips"
        require_same_shape("the network's output", raw, "the noisy chunk", x, remedy)
        return self.head(raw.astype(x.dtype), x, sigma)
