"""Rollouts into memory, without end, into a file; what they compile and what they refuse."""

import itertools

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import recycle_jax as rj
from recycle_jax.rollout import scan


@pytest.fixture(scope="module")
def start(clips):
    return clips.batch(0, 2, 3).clip


@pytest.fixture
def compiled():
    """How many programs were compiled since the fixture was made."""
    seen = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **tags: seen.append(event) if event.endswith("backend_compile_duration") else None
    )
    yield seen
    jax.monitoring.clear_event_listeners()


@pytest.mark.parametrize("frames", [1, 7, 71])
def test_blocks_make_the_rollout_that_one_scan_makes(flow, start, frames):
    params = flow.init(jax.random.key(0))
    whole = scan.rollout(flow, params, start[:, -2:], jax.random.key(3), frames + frames % 2)
    made = rj.rollout(flow, params, start, frames, seed=3)
    np.testing.assert_allclose(made, whole[:, :frames], atol=1e-5)


def test_a_second_rollout_of_the_same_shapes_compiles_nothing(generator, start, compiled):
    params = generator.init(jax.random.key(0))
    rj.rollout(generator, params, start, 37)
    before = len(compiled)
    assert before
    rj.rollout(generator, params, start, 37)
    assert len(compiled) == before


def test_a_start_of_bytes_is_the_start_that_clips_have(generator, start):
    params = generator.init(jax.random.key(0))
    as_bytes = np.asarray(jnp.round((start + 1.0) * 127.5), np.uint8)
    made = rj.rollout(generator, params, as_bytes, 2)
    expected = rj.rollout(generator, params, as_bytes / np.float64(127.5) - 1.0, 2)
    np.testing.assert_allclose(made, expected, atol=1e-5)


def test_the_start_is_still_there_afterwards(generator, start):
    context = start[:, -2:]
    rj.rollout(generator, generator.init(jax.random.key(0)), context, 2)
    assert float(context.sum()) == pytest.approx(float(start[:, -2:].sum()))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda start: start[0], r"clip\[None\]"),
        (lambda start: start[:, :1], "at least 2 frames, the generator's context_frames"),
        (lambda start: start.astype(jnp.int32), "is int32"),
    ],
)
def test_a_start_that_cannot_be_is_refused(generator, start, change, match):
    with pytest.raises(ValueError, match=match):
        rj.rollout(generator, generator.init(jax.random.key(0)), change(start), 2)


def test_what_is_no_generator_is_told_what_it_lacks(start):
    class Half:
        context_frames = 2

    with pytest.raises(TypeError, match="Half is no generator: it lacks chunk_frames.*step"):
        rj.rollout(Half(), {}, start, 2)


def test_no_frames_are_refused(generator, start):
    with pytest.raises(ValueError, match="frames is 0"):
        rj.rollout(generator, {}, start, 0)


def test_an_endless_rollout_begins_as_one_of_any_length(generator, start):
    params = generator.init(jax.random.key(0))
    first = next(iter(rj.iterate(generator, params, start, seed=1)))
    np.testing.assert_allclose(first, rj.rollout(generator, params, start, first.shape[1], seed=1), atol=1e-5)


def test_a_generator_without_a_hash_keeps_its_programs(generator, start, compiled):
    class Listed:
        """Someone's own, equal to nothing and not to be hashed."""

        __hash__ = None
        context_frames, chunk_frames, calls_per_step = 2, 1, 1
        init = corruption = fit = to_error = None

        def begin(self, params, context, condition):
            return context

        def step(self, params, carry, keys, condition):
            return carry, carry[:, -1:]

    own = Listed()
    made = rj.rollout(own, {}, start, 5)
    np.testing.assert_array_equal(made, jnp.repeat(start[:, -1:], 5, axis=1))
    before = len(compiled)
    rj.rollout(own, {}, start, 5)
    assert len(compiled) == before


def test_a_stream_writes_every_frame_of_every_row(flow, start, tmp_path):
    from recycle_jax.io.video import read_video

    params = flow.init(jax.random.key(0))
    done = rj.stream(flow, params, start, 37, to=tmp_path / "long.mp4", seed=2)
    frames = read_video(done.path)
    assert done.frames == 37 == len(frames)
    assert frames.shape[1:3] == (16, 32)
    made = rj.rollout(flow, params, start, 37, seed=2)
    side_by_side = np.clip(np.concatenate(list(made), axis=2), -1.0, 1.0)
    shown = frames.astype(np.float32) / 127.5 - 1.0
    light, expected = (x.mean(axis=-1).reshape(37, 4, 4, 8, 4).mean(axis=(2, 4)) for x in (shown, side_by_side))
    np.testing.assert_allclose(light, expected, atol=0.2)  # coding blurs an untrained network's noise
    assert "37 frames" in repr(done)


def test_latents_are_decoded_for_the_file(generator, start, tmp_path):
    from recycle_jax.io.video import read_video

    grey = lambda block: jnp.zeros((*block.shape[:2], 32, 32, 3))  # noqa: E731
    done = rj.stream(generator, generator.init(jax.random.key(0)), start[:1], 3, to=tmp_path / "a.mp4", decode=grey)
    assert np.abs(read_video(done.path).astype(int) - 128).max() < 6


def test_rows_do_not_depend_on_their_neighbours(flow, start):
    params = flow.init(jax.random.key(0))
    both = rj.rollout(flow, params, start, 4)
    one = rj.rollout(flow, params, start[:1], 4)
    np.testing.assert_allclose(both[:1], one, atol=1e-5)
    assert all(b.shape[1] for b in itertools.islice(rj.iterate(flow, params, start), 2))


def test_every_step_is_given_the_actions_of_its_own_frames():
    """c22 of users' reports: six actions for six frames, each moves the picture by its own."""

    def moved(params, context, action):
        return context[:, -1:] + params * action.reshape(action.shape[0], 1, 1, 1, 1)

    network = rj.generators.from_function(
        moved, rj.generators.fixed(jnp.float32(0.1)), lambda net, c, _, a: net(c, a.per_frame)
    )
    generator = rj.Predictor(network=network, context_frames=1)
    actions, start = jnp.arange(6.0).reshape(1, 6, 1), jnp.zeros((1, 1, 8, 8, 1))
    made = rj.rollout(generator, jnp.float32(0.1), start, 6, condition=rj.Condition(per_frame=actions))
    np.testing.assert_allclose(made[0, :, 0, 0, 0], np.cumsum(0.1 * np.arange(6.0)), atol=1e-6)
    with pytest.raises(ValueError, match="values for 6 frames, but 7 frames"):
        rj.rollout(generator, jnp.float32(0.1), start, 7, condition=rj.Condition(per_frame=actions))
