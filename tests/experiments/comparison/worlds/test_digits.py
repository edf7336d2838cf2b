"""Moving digits: mechanics, pictures, reading them back, and telling damage."""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("sklearn")

from experiments.comparison.worlds.cushions import glide, launch
from experiments.comparison.worlds.digit_shapes import load_shapes
from experiments.comparison.worlds.digits import DigitsState, MovingDigits
from recycle_jax.data.worlds.base import DecodableWorld, IdentifyingWorld, identify, oracle_rollout, simulate
from recycle_jax.data.worlds.measure import half_pixel_distance

ONE = MovingDigits(size=16, scale=7.5, speeds=(0.4, 1.0))
TWO = MovingDigits(digits=2)
WORLDS = pytest.mark.parametrize("world", [ONE, TWO], ids=["one", "two"])
ROWS, FRAMES = 48, 33


@functools.cache
def run(world: MovingDigits) -> tuple[DigitsState, jax.Array]:
    def one(key: jax.Array) -> tuple[DigitsState, jax.Array]:
        begin, rest = jax.random.split(key)
        return simulate(world, world.initial(begin), rest, FRAMES)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), ROWS))


@functools.cache
def decoder(world: MovingDigits):
    def read(frames: jax.Array) -> tuple[DigitsState, jax.Array, jax.Array, jax.Array]:
        state, confidence = world.decode(frames)
        following = world.advance(state, jax.random.key(0))
        return state, confidence, world.render(state), world.render(following)

    return jax.jit(jax.vmap(read))


@functools.cache
def tolerance(world: MovingDigits) -> float:
    return float(half_pixel_distance(world, jax.random.key(0), samples=32, frames=4))


def distance(first: jax.Array, second: jax.Array) -> np.ndarray:
    return np.mean(np.square(np.asarray(first - second)), axis=(1, 2, 3))


def speeds(world: MovingDigits, states: DigitsState) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(jax.vmap(world.speed)))(states))


def bend(x: float, velocity: float, half: float, steps: int = 4000) -> tuple[float, float]:
    """One frame between cushions, by small steps."""
    for _ in range(steps):
        velocity -= np.sign(x) * 1.25**2 * max(abs(x) - half, 0.0) / steps
        x += velocity / steps
    return x, velocity


@pytest.mark.parametrize(("x", "velocity"), [(1.0, 0.5), (2.6, 1.5), (3.4, 1.0), (3.9, -0.3), (-2.8, -1.9), (0.0, 9.0)])
def test_cushions_throw_back_as_springs_do(x, velocity):
    found = glide(jnp.float32(x), jnp.float32(velocity), jnp.float32(3.0))
    np.testing.assert_allclose(found, bend(x, velocity, 3.0), atol=2e-3)


def test_two_places_tell_the_velocity_wherever_the_cushion_is():
    x, velocity = (axis.ravel() for axis in jnp.meshgrid(jnp.linspace(-4.0, 4.0, 33), jnp.linspace(-2.0, 2.0, 33)))
    half = jnp.full_like(x, 3.0)
    np.testing.assert_allclose(launch(x, glide(x, velocity, half)[0], half), velocity, atol=1e-3)


@WORLDS
def test_bounces_conserve_speed_and_keep_the_strokes_inside(world):
    states, clips = run(world)
    assert isinstance(world, DecodableWorld) and world.deterministic
    assert clips.shape == (ROWS, FRAMES, *world.shape) and clips.dtype == jnp.float32
    assert float(clips.min()) == -1.0 and 0.99 < float(clips.max()) <= 1.0 + 1e-6
    speed = speeds(world, states)
    assert np.ptp(speed, axis=1).max() < 1e-4
    assert world.speeds[0] - 1e-4 < speed.min() and speed.max() < world.speeds[1] + 1e-4
    turned = np.asarray(states.velocity[:, 1:] * states.velocity[:, :-1] < 0.0)
    assert turned.any(axis=(1, 2, 3)).mean() > 0.9, "a clip of this length should show a bounce"
    position, writing = np.asarray(states.position), world.handwriting
    assert (position >= writing.before[states.shape] * world.cell - 1e-3).all()
    assert (position <= world.size - writing.after[states.shape] * world.cell + 1e-3).all()


def test_light_moves_smoothly_and_is_not_cut_at_the_walls():
    states, clips = run(ONE)
    ink = np.asarray(jnp.sum((clips + 1.0) / 2.0, axis=(2, 3, 4)))
    assert (np.ptp(ink, axis=1) / ink.mean(axis=1)).max() < 0.25
    state = jax.tree.map(lambda leaf: leaf[0, 0], states)

    def moved(by: jax.Array) -> jax.Array:
        return ONE.render(state.replace(position=state.position + by))

    step = 1e-2
    slope = jax.jit(jax.jacfwd(moved))(jnp.zeros((1, 2)))[..., 0, 0]
    ahead, behind = (jax.jit(moved)(jnp.array([[by, 0.0]])) for by in (step, -step))
    assert float(jnp.abs(slope - (ahead - behind) / (2.0 * step)).max()) < 0.03


def test_a_clip_keeps_its_shapes_and_all_shapes_are_used():
    shapes = np.asarray(run(TWO)[0].shape)
    assert (shapes == shapes[:, :1]).all() and len(np.unique(shapes)) == TWO.shapes
    again = jax.jit(lambda key: TWO.initial(jax.random.split(key)[0]))(jax.random.split(jax.random.key(7), ROWS)[3])
    np.testing.assert_array_equal(again.shape, shapes[3, 0])


def test_clips_begin_in_the_chosen_domains():
    for paces, labels in ((("slow",), {0}), (("fast",), {1}), (("slow", "fast"), {0, 1})):
        world = dataclasses.replace(TWO, paces=paces)
        begin = jax.jit(jax.vmap(lambda key, world=world: world.domain(world.initial(key))))
        found = begin(jax.random.split(jax.random.key(0), ROWS))
        assert set(np.asarray(found).tolist()) == labels and found.dtype == jnp.int32
        assert world.domains == ("slow", "fast"), "labels mean the same whichever clips are drawn"


def test_what_a_digit_is_stays_the_same_in_real_video():
    assert isinstance(ONE, IdentifyingWorld)
    clips = run(ONE)[1]
    told = jax.jit(jax.vmap(functools.partial(identify, ONE)))
    first, last = told(clips[:, :2]), told(clips[:, -2:])
    np.testing.assert_array_equal(first, last)
    assert first.shape == (ROWS, 1) and len(np.unique(first)) > ONE.shapes // 2


@WORLDS
def test_decode_reads_the_digits_and_the_next_frame(world):
    states, clips = run(world)
    for last in range(1, FRAMES - 1, 3):
        state, confidence, picture, following = decoder(world)(clips[:, last - 1 : last + 1])
        np.testing.assert_array_equal(state.shape, states.shape[:, last])
        assert np.abs(np.asarray(state.position - states.position[:, last])).max() < 0.02
        assert np.abs(np.asarray(state.velocity - states.velocity[:, last])).max() < 0.05
        assert distance(picture, clips[:, last]).max() < 0.01 * tolerance(world)
        assert distance(following, clips[:, last + 1]).max() < 0.01 * tolerance(world)
        assert float(confidence.min()) > 0.95


def blurred(frames: jax.Array, width: float) -> jax.Array:
    offset = np.arange(TWO.size)[:, None] - np.arange(TWO.size)[None]
    blur = np.exp(-0.5 * (offset / width) ** 2).astype(np.float32)
    blur = blur / blur.sum(axis=1, keepdims=True)
    return jnp.einsum("yh,bthwc,xw->btyxc", blur, frames, blur)


def half_erased(window: jax.Array) -> jax.Array:
    states = jax.tree.map(lambda leaf: leaf[:, 8:10], run(TWO)[0])
    drawn = jax.jit(jax.vmap(jax.vmap(TWO._draw)))(states)
    below = np.arange(TWO.size) + 0.5 > np.asarray(states.position)[:, :, :1, 1, None]
    return 2.0 * jnp.einsum("btnhw,nc->bthwc", jnp.where(below[..., None] & _FIRST, 0.0, drawn), TWO.tints) - 1.0


_FIRST = np.array([True, False])[None, None, :, None, None]


DAMAGE = {
    "blurred": lambda window: blurred(window, 1.2),
    "faded": lambda window: 0.5 * (window + 1.0) - 1.0,
    "noisy": lambda window: jnp.clip(window + 0.2 * jax.random.normal(jax.random.key(5), window.shape), -1.0, 1.0),
    "merged": lambda window: (window + window[::-1]) / 2.0,
    "half erased": half_erased,
    "vanished": lambda window: jnp.full_like(window, -1.0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(name):
    damaged = DAMAGE[name](run(TWO)[1][:, 8:10])
    _, confidence, picture, _ = decoder(TWO)(damaged)
    far = distance(picture, damaged[:, -1])
    assert np.mean(far > tolerance(TWO)) > 0.95
    assert float(jnp.median(confidence)) < 0.75


@pytest.mark.parametrize("fill", ["noise", "black", "white", "nan", "huge"])
def test_garbage_decodes_to_a_valid_state_of_low_confidence(fill):
    shape = (ROWS, 2, *TWO.shape)
    frames = {
        "noise": jax.random.uniform(jax.random.key(1), shape, minval=-1.0),
        "black": jnp.full(shape, -1.0),
        "white": jnp.full(shape, 1.0),
        "nan": jnp.full(shape, jnp.nan),
        "huge": 1e30 * jax.random.normal(jax.random.key(2), shape),
    }[fill]
    state, confidence, picture, following = decoder(TWO)(frames)
    for leaf in jax.tree.leaves((state, picture, following)):
        assert np.isfinite(leaf).all()
    assert float(picture.min()) >= -1.0 and float(picture.max()) <= 1.0 + 1e-6
    assert float(confidence.min()) >= 0.0 and float(confidence.max()) < 0.5
    assert int(state.shape.min()) >= 0 and int(state.shape.max()) < TWO.shapes
    assert float(state.position.min()) > 0.0 and float(state.position.max()) < TWO.size


def test_the_oracle_stays_valid_on_its_own_frames():
    states, clips = run(TWO)
    roll = jax.jit(jax.vmap(lambda context: oracle_rollout(TWO, context, jax.random.key(0), 256)))
    frames = roll(clips[:ROWS, :2])
    state, confidence, picture, _ = decoder(TWO)(frames[:, -2:])
    assert float(confidence.min()) > 0.95
    assert distance(picture, frames[:, -1]).max() < 0.01 * tolerance(TWO)
    np.testing.assert_array_equal(state.shape, states.shape[:, 0])
    start, end = (np.asarray(jax.vmap(TWO.speed)(each)) for each in (jax.tree.map(lambda x: x[:, 0], states), state))
    np.testing.assert_allclose(end, start, rtol=0.02)


def test_only_the_stochastic_variant_depends_on_the_key_and_its_speeds_stay_in_range():
    kicked = dataclasses.replace(ONE, kick=0.2)
    state = jax.tree.map(lambda leaf: leaf[0, 0], run(ONE)[0])
    for world in (ONE, kicked):
        advance = jax.jit(world.advance)
        first, second = (advance(state, jax.random.key(seed)) for seed in (1, 2))
        assert bool(jnp.array_equal(first.velocity, second.velocity)) == world.deterministic
    states, clips = run(kicked)
    speed = speeds(kicked, states)
    assert kicked.speeds[0] - 1e-4 < speed.min() and speed.max() < kicked.speeds[1] + 1e-4
    assert np.ptp(speed, axis=1).min() > 0.1
    reach = (np.asarray(states.position), kicked.handwriting.before[states.shape] * kicked.cell)
    assert (reach[0] >= reach[1] - 1e-3).all()


def test_shapes_are_legible_examples_of_all_classes():
    shapes = load_shapes(20)
    assert shapes.ink.shape == (20, 8, 8) and shapes.ink.dtype == np.float32
    np.testing.assert_array_equal(shapes.label, np.tile(np.arange(10), 2))
    np.testing.assert_array_equal(load_shapes(7).ink, shapes.ink[:7])
    apart = np.mean(np.square(shapes.ink[:, None] - shapes.ink[None]), axis=(2, 3))
    assert apart[~np.eye(20, dtype=bool)].min() > 0.01, "two shapes are nearly the same"
    assert shapes.ink.sum(axis=(1, 2)).min() > 14.0, "a shape has too little ink to be read"


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setattr("experiments.comparison.worlds.digits.load_shapes", load_shapes.__wrapped__)
    with pytest.raises(ImportError, match=r"pip install 'recycle_jax\[digits\]'"):
        MovingDigits()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"digits": 4}, "digits=4 must be from 1 to 3"),
        ({"digits": 0}, "digits=0"),
        ({"shapes": 1}, "shapes=1 must be from 2"),
        ({"scale": 3.0}, "scale=3.0 must be at least"),
        ({"speeds": (2.0, 1.0)}, "speeds"),
        ({"paces": ("swift",)}, "swift"),
        ({"paces": ()}, "paces"),
        ({"kick": -0.1}, "kick=-0.1"),
        ({"context_frames": 1}, "context_frames=1"),
        ({"size": 16}, "size=16 must be at least .* pixels"),
    ],
)
def test_impossible_worlds_are_refused(field, message):
    with pytest.raises(ValueError, match=message):
        MovingDigits(**field)
