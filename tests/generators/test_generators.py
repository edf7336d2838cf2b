"""Both generators against what their maths says, on networks that are one line each."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Example, Generator, clean_example, slide, split_clip
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow, data_head, velocity_head
from recycle_jax.models.base import Network

ROWS, FRAME = 3, (2, 2, 1)
KEYS = jax.random.split(jax.random.key(7), ROWS)


def predictor(chunk_frames=1):
    """Predicts half the newest frame."""
    frames = [1, chunk_frames, 1, 1, 1]
    network = Network(
        init=lambda key: {"scale": jnp.float32(0.5)},
        apply=lambda params, context, level, condition: jnp.tile(params["scale"] * context[:, -1:], frames),
    )
    return Predictor(network=network, context_frames=2, chunk_frames=chunk_frames)


def flow(apply, **options):
    return RectifiedFlow(network=Network(init=lambda key: {}, apply=apply), context_frames=2, **options)


def linear_flow(rate, **options):
    """The velocity field `rate * x`."""
    return flow(lambda params, x, sigma, *rest: rate * x, head=velocity_head, **options)


def random_example(target, seed=0):
    x0, x_injected, noise = jax.random.normal(jax.random.key(seed), (3, ROWS, 1, *FRAME))
    return Example(
        context=jax.random.normal(jax.random.key(seed + 1), (ROWS, 2, *FRAME)),
        x0=x0,
        x_injected=x_injected,
        noise_injected=noise,
        sigma=jnp.asarray([[0.2], [0.5], [1.0]]),
        level=jnp.zeros(ROWS),
        weight=jnp.ones(ROWS),
        target=target,
    )


@pytest.mark.parametrize("generator", [predictor(), linear_flow(0.3)], ids=["predictor", "flow"])
def test_they_keep_the_protocol(generator):
    assert isinstance(generator, Generator)
    clip = jax.random.normal(jax.random.key(0), (ROWS, 5, *FRAME))
    example = clean_example(generator, Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32)), KEYS)
    params = generator.init(jax.random.key(0))
    fit = generator.fit(params, example)
    assert fit.loss.shape == (ROWS,)
    assert fit.prediction.shape == fit.residual.shape == example.x0.shape
    context = clip[:, :2]
    carry, chunk = generator.step(params, generator.begin(params, context, None), KEYS, None)
    assert chunk.shape == (ROWS, generator.chunk_frames, *FRAME)
    np.testing.assert_array_equal(carry, slide(context, chunk))


@pytest.mark.parametrize("generator", [predictor(), linear_flow(0.3)], ids=["predictor", "flow"])
def test_the_error_of_a_residual_is_what_the_prediction_misses(generator):
    """For the flow under the exact target even when an error was injected."""
    example = random_example(fm.exact_target)
    fit = generator.fit(generator.init(jax.random.key(0)), example)
    error = generator.to_error(fit.residual, example.sigma)
    np.testing.assert_allclose(error, fit.prediction - example.x0, atol=1e-5)


def test_under_the_papers_target_the_rest_of_the_injection_is_missed_too():
    example = random_example(fm.paper_target)
    generator = linear_flow(0.3)
    fit = generator.fit({}, example)
    rest = (1.0 - fm.over_frames(example.sigma)) * (example.x_injected - example.x0)
    error = generator.to_error(fit.residual, example.sigma)
    np.testing.assert_allclose(fit.prediction - example.x0, error + rest, atol=1e-5)


def test_the_data_weight_makes_the_loss_that_of_the_clean_chunk():
    example = random_example(fm.exact_target)
    fit = linear_flow(0.3).fit({}, example)
    want = np.mean(np.square(fit.prediction - example.x0), axis=(1, 2, 3, 4))
    np.testing.assert_allclose(fit.loss, want, rtol=1e-4)
    flat = linear_flow(0.3, weight=jnp.ones_like).fit({}, example)
    np.testing.assert_allclose(flat.loss * jnp.square(example.sigma[:, 0]), want, rtol=1e-4)


@pytest.mark.parametrize("steps, shift", [(1, 1.0), (4, 1.0), (7, 5.0)])
def test_euler_solves_a_linear_field_to_its_closed_form(steps, shift):
    """Each step multiplies by `1 + rate * (sigma' - sigma)`; many of them approach `exp(-rate)`."""
    sigmas = np.asarray(fm.euler_schedule(steps, shift))
    _, chunk = linear_flow(0.7, steps=steps, shift=shift).step({}, jnp.zeros((ROWS, 2, *FRAME)), KEYS, None)
    noise = rng.normal_rows(KEYS, (1, *FRAME))
    np.testing.assert_allclose(chunk, noise * np.prod(1.0 + 0.7 * np.diff(sigmas)), rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 5])
def test_a_known_clean_chunk_is_reached_whatever_the_steps(steps):
    generator = flow(
        lambda params, x, sigma, context, *rest: 0.25 * context[:, -1:],
        head=data_head,
        steps=steps,
        shift=3.0,
    )
    context = jax.random.normal(jax.random.key(1), (ROWS, 2, *FRAME))
    _, chunk = generator.step({}, context, KEYS, None)
    np.testing.assert_allclose(chunk, 0.25 * context[:, -1:], atol=1e-5)


def test_corruption_is_shifted_standard_and_of_the_row_alone():
    generator = linear_flow(0.0, shift=5.0, chunk_frames=2)
    keys = jax.random.split(jax.random.key(0), 2000)
    chunk = jnp.zeros((2000, 2, *FRAME))
    levels = jax.jit(generator.corruption)(keys, chunk)
    np.testing.assert_array_equal(levels.sigma[:, 0], levels.sigma[:, 1])
    assert np.median(levels.sigma) == pytest.approx(5 / 6, abs=0.03)  # the shift of one half
    assert np.std(levels.noise) == pytest.approx(1.0, abs=0.03)
    tail = generator.corruption(keys[-2:], chunk[-2:])
    np.testing.assert_array_equal(tail.noise, levels.noise[-2:])
    calm = predictor().corruption(KEYS, jnp.ones((ROWS, 1, *FRAME)))
    assert np.all(calm.sigma == 1.0) and not np.any(calm.noise)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_context_slides_by_a_chunk(chunk):
    clip = jnp.arange(6, dtype=jnp.float32).reshape(1, 6, 1, 1, 1)
    slid = slide(clip[:, :2], clip[:, 2 : 2 + chunk])
    np.testing.assert_array_equal(slid, clip[:, chunk : chunk + 2])


def test_a_short_clip_is_named():
    with pytest.raises(ValueError, match=r"clips of 3 frames .* 2 \+ 2 = 4: draw longer"):
        split_clip(jnp.zeros((1, 3, *FRAME)), 2, 2)


CHUNKS = r"shape \(3, 1, 2, 2, 1\), but .* \(3, 2, 2, 2, 1\) .*: build the network for the chunk_frames"


def test_a_network_of_other_chunks_is_refused_before_it_broadcasts():
    """One frame for two."""
    batch = Batch(clip=jnp.zeros((ROWS, 4, *FRAME)), domain=jnp.zeros(ROWS, jnp.int32))
    longer = dataclasses.replace(predictor(1), chunk_frames=2)
    with pytest.raises(ValueError, match=f"the network's prediction has {CHUNKS}"):
        longer.fit({"scale": 0.5}, clean_example(longer, batch, KEYS))
    short = flow(lambda params, x, *rest: x[:, :1], chunk_frames=2)
    with pytest.raises(ValueError, match=f"the network's output has {CHUNKS}"):
        short.fit({}, clean_example(short, batch, KEYS))
    with pytest.raises(ValueError, match=f"the network's output has {CHUNKS}"):
        short.step({}, batch.clip[:, :2], KEYS, None)


def test_a_target_of_another_shape_is_refused():
    example = random_example(lambda x0, *rest: jnp.zeros((ROWS, 2, *FRAME)))
    with pytest.raises(ValueError, match=r"the velocity has shape .* but its target .*: let head and target keep"):
        linear_flow(0.5).fit({}, example)


def test_a_sampler_needs_a_step():
    with pytest.raises(ValueError, match="steps is 0"):
        linear_flow(0.0, steps=0)


def test_a_cold_flow_draws_nothing_and_a_cool_one_less():
    """A network that lets its noise through: what comes out differs between keys by the temperature."""
    through = Network(init=lambda key: {}, apply=lambda params, noisy, *rest: noisy)
    context = jnp.zeros((8, 1, 4, 4, 1))

    def frames(temperature):
        flow = RectifiedFlow(network=through, context_frames=1, steps=2, temperature=temperature)
        return flow.step({}, context, jax.random.split(jax.random.key(0), 8), None)[1]

    np.testing.assert_array_equal(frames(0.0), 0.0)
    np.testing.assert_allclose(frames(0.5), 0.5 * frames(1.0), rtol=1e-6)


@pytest.mark.parametrize("temperature", [-0.1, 1.5])
def test_a_temperature_is_between_none_and_all_of_the_noise(temperature):
    with pytest.raises(ValueError, match=f"temperature is {temperature}, must lie in"):
        RectifiedFlow(network=Network(init=lambda key: {}, apply=None), context_frames=1, temperature=temperature)
