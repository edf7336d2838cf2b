"""The recorded clip moved onto a rollout: displacement is forgiven, everything else is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recycle_jax.batch import Batch
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.errors.rollout.registered import Registered
from recycle_jax.errors.rollout.registration import Registration
from recycle_jax.generators.predictor import Predictor
from recycle_jax.models.base import Network
from tests.errors.rollout.test_registration import SIZE, blob, clip_of

pytestmark = pytest.mark.fast

SPEED, ROWS, CONTEXT = 0.3, 3, 2
OPEN = Gate(distance=10.0, mass=1e9)
EXACT = Registration(ridge=1e-4)


def walking(frames, late=0.0, fading=0.0):
    """A blob that walks to the right, shown `late` frames late and dimmer by `fading`."""
    clip = clip_of([blob(12.0, 9.0 + SPEED * (i - late)) for i in range(frames)])
    return jnp.broadcast_to((1.0 - fading) * (clip + 1.0) - 1.0, (ROWS, frames, SIZE, SIZE, 1))


def refer(shown, reanchor_rate=0.25, velocity_damping=None, velocity_carry=0.0):
    reference = Registered(
        registration=EXACT,
        reanchor_rate=reanchor_rate,
        velocity_damping=velocity_damping,
        velocity_carry=velocity_carry,
        gate=OPEN,
    )
    return reference(shown[:, :CONTEXT], shown[:, CONTEXT : CONTEXT + 1], walking(CONTEXT + 2), None)


def away(a, b):
    return float(jnp.sqrt(jnp.square(a - b).mean()))


def test_a_displaced_rollout_is_continued_from_where_it_is():
    late = walking(CONTEXT + 1, late=1.0)
    referred = refer(late)
    recorded = Recorded(gate=OPEN)(late[:, :CONTEXT], late[:, CONTEXT:], walking(CONTEXT + 2), None)
    assert away(referred.target, late[:, CONTEXT:]) < 0.1 * away(recorded.target, late[:, CONTEXT:])
    assert float(referred.score.max()) < 0.01 * float(recorded.score.max())
    np.testing.assert_array_equal(referred.accept, True)


@pytest.mark.parametrize("velocity_carry", [0.0, 0.5, 1.0])
def test_the_target_goes_on_at_the_contexts_own_speed_as_far_as_it_is_carried(velocity_carry):
    start, slower = walking(1), walking(1, late=0.5)
    context = jnp.concatenate([start, walking(2, late=0.5)[:, 1:]], axis=1)
    shown = jnp.concatenate([context, slower], axis=1)
    referred = refer(shown, velocity_carry=velocity_carry)
    assert away(referred.target, walking(CONTEXT + 1, late=0.5 + 0.5 * velocity_carry)[:, CONTEXT:]) < 0.005
    others = [late for late in (0.5, 0.75, 1.0) if late != 0.5 + 0.5 * velocity_carry]
    assert min(away(referred.target, walking(CONTEXT + 1, late=late)[:, CONTEXT:]) for late in others) > 0.005


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"velocity_carry is 1\.5"):
        Registered(velocity_carry=1.5)


def test_one_frame_has_no_speed_to_carry():
    clip = walking(2)
    with pytest.raises(ValueError, match="one context frame shows no speed"):
        Registered(velocity_carry=0.5)(clip[:, :1], clip[:, 1:], walking(3), None)


def test_a_faded_rollout_is_continued_bright():
    referred = refer(walking(CONTEXT + 1, late=0.5, fading=0.3))
    assert away(referred.target, walking(CONTEXT + 1, late=0.5)[:, CONTEXT:]) < 0.01


@pytest.mark.parametrize(("reanchor_rate", "late"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_the_chain_goes_on_with_its_errors_but_less_displaced(reanchor_rate, late):
    shown = walking(CONTEXT + 1, late=1.0, fading=0.1)
    referred = refer(shown, reanchor_rate=reanchor_rate)
    assert away(referred.go_on[:, -1:], walking(CONTEXT + 1, late=late, fading=0.1)[:, CONTEXT:]) < 0.02
    np.testing.assert_allclose(referred.go_on[:, :-1], shown[:, 1:CONTEXT], atol=1e-6, err_msg="moved a second time")


@pytest.mark.parametrize("velocity_damping", [0.0, 0.4, 1.0])
def test_a_brake_keeps_the_rest_of_a_wrong_speed(velocity_damping):
    """The newest frames are 0.6 and then 1.0 frames late: the slip of 0.4 fades by the brake, lateness by the pull."""
    shown = jnp.concatenate([walking(CONTEXT, late=0.6), walking(CONTEXT + 1, late=1.0)[:, CONTEXT:]], axis=1)
    go_on = refer(shown, reanchor_rate=0.5, velocity_damping=velocity_damping).go_on
    late = [0.5 - 0.4 * (1.0 - velocity_damping), 0.5]
    for frame, lateness in enumerate(late):
        wanted = walking(CONTEXT + 1, late=lateness)[:, 1 + frame : 2 + frame]
        assert away(go_on[:, frame : frame + 1], wanted) < 0.012


def test_the_gate_looks_at_what_displacement_does_not_explain():
    late, faded = walking(CONTEXT + 1, late=1.5), walking(CONTEXT + 1, fading=0.3)
    strict = Registered(registration=EXACT, gate=Gate(distance=0.002, mass=1e9))
    told = [strict(x[:, :CONTEXT], x[:, CONTEXT:], walking(CONTEXT + 2), None).accept for x in (late, faded)]
    np.testing.assert_array_equal(told[0], True)
    np.testing.assert_array_equal(told[1], False)


def slow(step):
    """A generator that shows a blob `step` to the right of the last one, by the centre of mass."""

    def apply(params, context, level, condition):
        light = context[:, -1:] + 1.0
        across = jnp.arange(SIZE, dtype=jnp.float32)[None, None, None, :, None]
        x = (light * across).sum((2, 3, 4)) / light.sum((2, 3, 4))
        return jax.vmap(lambda at: blob(12.0, at[0] + step)[0])(x)

    return Predictor(network=Network(init=lambda key: {}, apply=apply), context_frames=CONTEXT)


@pytest.mark.parametrize(("reanchor_rate", "behind"), [(0.0, 16 * 0.1), (0.5, 0.1), (0.25, 0.3)])
def test_pull_holds_displacement_at_its_share(reanchor_rate, behind):
    """A generator that loses a third of every step: free chains fall behind, pulled ones stay in reach."""
    harvest = Harvest(generator=slow(SPEED - 0.1), max_age=16)
    reference = Registered(registration=EXACT, reanchor_rate=reanchor_rate, gate=OPEN)
    clip = walking(harvest.clip_frames(reference))
    fresh = harvest.start(Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32)))
    chains = harvest.start(Batch(clip=clip, domain=jnp.zeros(ROWS, jnp.int32))).replace(limit=jnp.full(ROWS, 16))
    advance = jax.jit(harvest.advance)
    for step in range(16):
        keys = jax.random.split(jax.random.key(step), ROWS)
        chains, _, _ = advance({}, reference, chains, fresh, keys, jnp.int32(step))
    light = np.asarray(chains.context[0, -1, :, :, 0]) + 1.0
    x = float((light * np.arange(SIZE)).sum() / light.sum())
    assert 9.0 + SPEED * (CONTEXT - 1 + 16) - x == pytest.approx(behind, abs=0.12)


@pytest.mark.parametrize("name", ["reanchor_rate", "velocity_damping"])
def test_pull_and_brake_are_shares(name):
    with pytest.raises(ValueError, match=f"{name} is 1.5"):
        Registered(**{name: 1.5})
