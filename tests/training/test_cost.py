"""The bill: what XLA counts once, multiplied by how often it happens."""

import jax
import jax.numpy as jnp
import pytest

from experiments.comparison.baselines.codebook import Codebook
from experiments.comparison.baselines.discretised import Discretised
from recycle_jax.batch import Batch
from recycle_jax.generators.predictor import Predictor
from recycle_jax.generators.rectified_flow import RectifiedFlow
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.mixture import Mixture
from recycle_jax.histories.pushforward import Pushforward
from recycle_jax.models.base import Network
from recycle_jax.models.conv import frame_unet, velocity_unet
from recycle_jax.rollout.scan import rollout, rollout_keys
from recycle_jax.training.cost import Cost, flops_of, forward_flops, harvest_flops, history_flops, update_flops

FRAME = (8, 8, 1)
SIZE = {"shape": FRAME, "context_frames": 2, "chunk_frames": 1, "patch": 4, "width": 32, "levels": 1}
PREDICTOR = Predictor(network=frame_unet(**SIZE), context_frames=2)
FLOW = RectifiedFlow(network=velocity_unet(**SIZE), context_frames=2, steps=3)
ROWS, FRAMES = 3, 4
LIKE = Batch(clip=jnp.zeros((ROWS, FRAMES, *FRAME)), domain=jnp.zeros(ROWS, jnp.int32))
"""Only the shapes of one row count, up to the chunk."""


def unrolled(generator, params, context, key):
    carry, chunks = generator.begin(params, context, None), []
    for i in range(FRAMES):
        carry, chunk = generator.step(params, carry, rollout_keys(key, jnp.int32(i), ROWS), None)
        chunks.append(chunk)
    return jnp.concatenate(chunks, axis=1)


def test_a_scanned_rollout_counts_one_trip_and_an_unrolled_one_all():
    params, context = PREDICTOR.init(jax.random.key(0)), jnp.zeros((ROWS, 2, *FRAME))
    key = jax.random.key(1)
    scanned = flops_of(lambda *a: rollout(PREDICTOR, *a, FRAMES), params, context, key)
    every = flops_of(lambda *a: unrolled(PREDICTOR, *a), params, context, key)
    assert scanned * FRAMES == pytest.approx(every, rel=0.01)
    assert scanned * FRAMES > 2.0 * scanned, "a scan counted whole would be charged twice"


@pytest.mark.parametrize("generator", [PREDICTOR, FLOW], ids=["predictor", "flow"])
def test_the_forward_call_times_calls_and_trips_is_the_unrolled_rollout(generator):
    """What is charged for a rollout, `rows steps calls F`, against the program that hides nothing from XLA."""
    params, context = generator.init(jax.random.key(0)), jnp.zeros((ROWS, 2, *FRAME))
    charged = harvest_flops(generator, forward_flops(generator, params, LIKE), 0.0, ROWS, FRAMES)
    every = flops_of(lambda *a: unrolled(generator, *a), params, context, jax.random.key(1))
    assert charged == pytest.approx(every, rel=0.15), "forward_flops no longer stands for one network call of a rollout"


def test_an_update_is_three_forward_calls():
    """Forward and backward are counted as three; what XLA counts for this network is near."""
    params = PREDICTOR.init(jax.random.key(0))
    forward = forward_flops(PREDICTOR, params, LIKE)
    assert update_flops(PREDICTOR, TeacherForcing(), forward, 16) == 16 * 3 * forward
    clip = jnp.zeros((1, 3, *FRAME))

    def loss(params, clip):
        prediction = PREDICTOR.network.apply(params, clip[:, :2], jnp.zeros(1), None)
        return jnp.mean(jnp.square(prediction - clip[:, 2:]))

    assert flops_of(jax.value_and_grad(loss), params, clip) == pytest.approx(3 * forward, rel=0.35)


def test_rollouts_of_a_policy_are_charged_by_step_and_call():
    assert update_flops(PREDICTOR, Pushforward(steps=4), 100.0, 8) == 8 * 100.0 * (3 + 4)
    assert update_flops(FLOW, Pushforward(steps=4), 100.0, 8) == 8 * 100.0 * (3 + 4 * 3)
    half = Mixture(parts=((1, TeacherForcing()), (1, Pushforward(steps=4))))
    assert update_flops(PREDICTOR, half, 100.0, 8) == 8 * 100.0 * (3 + 2)


def test_a_harvest_is_charged_with_its_reference():
    assert harvest_flops(PREDICTOR, 100.0, 0.0, chains=4, steps=5) == 4 * 5 * 100.0
    assert harvest_flops(FLOW, 100.0, 70.0, chains=4, steps=5) == 4 * 5 * (3 * 100.0 + 70.0)


def test_a_history_made_of_codes_pays_for_its_look_ups():
    """A product of all patches with all codes, and the search for the largest; no gradient passes, so once only."""
    codebook = Codebook(codes=jnp.zeros((16, 2 * 2 * FRAME[2])), patch=2)
    generator = Discretised(inner=PREDICTOR, codebook=codebook)
    params = PREDICTOR.init(jax.random.key(0))
    forward, history = forward_flops(generator, params, LIKE), history_flops(generator, LIKE)
    patches = PREDICTOR.context_frames * FRAME[0] * FRAME[1] // 4
    assert forward == forward_flops(PREDICTOR, params, LIKE), "look-ups are no part of the network's call"
    assert 1.0 < history / (patches * 2 * codebook.codes.size) < 2.5
    assert history_flops(PREDICTOR, LIKE) == 0.0
    assert update_flops(generator, TeacherForcing(), 100.0, 8, 7.0) == 8 * (3 * 100.0 + 7.0)
    assert update_flops(generator, Pushforward(steps=4), 100.0, 8, 7.0) == 8 * (7 * 100.0 + 5 * 7.0)
    assert harvest_flops(generator, 100.0, 0.0, chains=4, steps=5, history=7.0) == 4 * 5 * (100.0 + 7.0)


@pytest.mark.parametrize("kind", [Predictor, RectifiedFlow])
def test_a_network_that_is_told_a_condition_is_charged_by_its_shapes(kind):
    """A product with a condition of 5 numbers on the way to 64 pixels, whatever else the generator does."""

    def apply(params, *inputs):
        *_, context, level, condition = inputs
        return context[:, -1:] + (condition["push"] @ params).reshape(-1, 1, *FRAME)

    generator = kind(network=Network(init=lambda key: jnp.zeros((5, 64)), apply=apply), context_frames=2)
    params = jax.eval_shape(generator.init, jax.random.key(0))

    def told(numbers):
        params = jax.ShapeDtypeStruct((numbers, 64), jnp.float32)
        return forward_flops(generator, params, LIKE.replace(condition={"push": jnp.zeros((ROWS, numbers))}))

    assert params.shape == (5, 64) and told(5) - told(2) == 3 * 2 * 64
    with pytest.raises(TypeError, match="NoneType"):
        forward_flops(generator, params, LIKE)


def test_bills_add_up():
    one = Cost(train_flops=1.0, harvest_flops=2.0, eval_flops_used_for_choices=4.0, updates=3, seconds=0.5)
    assert one.flops == 7.0 and Cost().flops == 0.0
    assert one + one == Cost(
        train_flops=2.0, harvest_flops=4.0, eval_flops_used_for_choices=8.0, updates=6, seconds=1.0
    )
    assert sum([one, one], Cost()).updates == 6
