"""Recycling on real video: no simulator, no decoder, only clips.

Question: a small flow generator of a folder of real clips drifts on its own output. How long do its rollouts stay
inside the bands of real video, after teacher forcing, after training on at the recycled run's cost (B+), after noise
augmentation, after cooler sampling, and after recycling by the recipe of `histories.recycle`? A flow, since the next
frame of real video does not follow from two: a predictor gives its mean and freezes.

Expected: recycling stays longest; real robot footage at 32 x 32 is far from solved by a network of this size, and
the bands say so.

    python -m experiments.comparison.footage_task --data FOLDER --preset small

FOLDER holds video files, in sub-folders where the domains differ. Without `--data`, `smoke` renders a few clips of
its own. About 25 minutes on two idle cores; the first run also decodes the clips.
"""

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.comparison.builders import SLOW, at_temperature, by_recipe, ours, recycling, with_learning_rate
from experiments.comparison.cell_store import take_over
from experiments.comparison.conclusion import conclude
from experiments.comparison.evaluation import Judging, footage_bands, footage_windows
from experiments.comparison.method import METHODS, Method
from experiments.comparison.methods import slow
from experiments.comparison.runner import Comparison, Share, run_comparison
from experiments.comparison.task import FIRST_VERSION, Budget, Choices, Evaluator, Net, Task, build_generator
from experiments.footage_files import FALLBACK_FPS, data_hash, frame_rate
from recycle_jax.cli import launch, written_out
from recycle_jax.data.arrays import ArrayClips
from recycle_jax.data.videos import FrameRule, load_folder
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.recorded import recorded_statistics
from recycle_jax.histories.recipe import Recycling
from recycle_jax.io.video import write_mp4
from recycle_jax.io.workdir import open_workdir
from recycle_jax.sharding import make_mesh

TABLE: dict[str, Method] = {
    **{name: METHODS[name] for name in ("b", "b_plus", "noise")},
    "cooled": at_temperature(METHODS["b_plus"], 0.5),
    "ours": ours(recycling()),
    "ours:slow": slow(recycling()),
    "ours:late": by_recipe(recycling(), SLOW, begins=1.0),
    "ours:late,unmended": by_recipe(recycling(repair_prob=0.0), SLOW, begins=1.0),
    "ours:late,cool": by_recipe(recycling(repair_prob=0.0), SLOW, temperature=0.5, begins=1.0),
    "b_plus:fast": with_learning_rate(METHODS["b_plus"]),
    "noise:fast": with_learning_rate(METHODS["noise"]),
}
"""The recipe of `histories.recycle`, and what it is compared with: the recipe before its chains ended, at the budget's
rates, that from the whole B on, then without repaired frames, or cooled in any case; and rivals at its rate."""

QUESTION = "How long do rollouts of a generator of real footage look like real footage?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run of this experiment depends on.

    Attributes:
        name: of the footage in the results.
        size: side of the frames, 32 to 64.
        crop: cut the middle square, or squeeze the whole frame into it.
        held_out: share of the clips that nothing trains on; bands come from one half of them, their check and the
            starts of the evaluated rollouts from the other.
        context: frames of history.
        kinds: generators.
        methods: method ids.
        seeds: training seeds.
        net, budget, choices, recycling, judging: see there.
    """

    name: str = "robot_arm"
    size: int = 32
    crop: bool = False
    held_out: float = 0.25
    context: int = 2
    kinds: tuple[str, ...] = ("flow",)
    methods: tuple[str, ...] = tuple(TABLE)
    seeds: tuple[int, ...] = (0, 1, 2)
    net: Net = Net()
    budget: Budget = Budget(base=3000)
    choices: Choices = Choices(time=True, velocity_damping=None, flow_velocity_damping=None)
    recycling: Recycling = dataclasses.replace(FIRST_VERSION, noise=0.05)
    judging: Judging = Judging(max_frames=128, rollouts=64, window=32, real_rollouts=128)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        data: folder of video files; `smoke` makes its own where it is empty.
        config: the experiment.
        share: what this process does of the work.
        publish: a file that the results are copied to, or nothing.
        earlier: a file that was published before, whose cells are taken over, or nothing.
    """

    data: str = ""
    config: Config = Config()
    share: Share = Share()
    publish: str = ""
    earlier: str = ""


def smoke() -> Command:
    """On forty rendered clips."""
    config = Config(
        name="rendered",
        size=16,
        held_out=0.5,
        methods=("b", "ours"),
        seeds=(0,),
        net=Net(width=16),
        budget=Budget(base=40, extra=1.0, rows=16),
        recycling=dataclasses.replace(FIRST_VERSION, chains=8, max_age=8, capacity=64),
        judging=Judging(max_frames=16, rollouts=8, window=4, real_rollouts=40),
    )
    return Command(config=config)


def small() -> Command:
    """Two cores."""
    return Command()


def full() -> Command:
    """One GPU, 64 x 64."""
    config = Config(
        size=64,
        seeds=(0, 1, 2, 3, 4),
        net=Net(width=96, tiles=16, levels=3),
        budget=Budget(base=30_000, rows=64),
    )
    return Command(config=config)


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": small, "full": full, "pod": full}


def load(command: Command) -> ArrayClips:
    """The clips of the folder; for `smoke` a folder of rendered ones, through the same reader."""
    config = command.config
    rule = FrameRule(height=config.size, width=config.size, crop=config.crop)
    if command.data:
        return load_folder(command.data, rule, min_frames=config.context + 1)
    if config.name != "rendered":
        raise ValueError("footage needs --data FOLDER, a folder of video files; only --preset smoke makes its own")
    with tempfile.TemporaryDirectory() as folder:
        clips = WorldClips(world=BouncingBalls(size=config.size)).batch(0, 120, 24).clip
        for i, clip in enumerate(np.asarray(clips)):
            write_mp4(Path(folder) / "balls" / f"{i:03}.mp4", clip)
        return load_folder(folder, rule, min_frames=config.context + 1, cache=Path(folder) / "cache")


def build_task(kind: str, config: Config, train: ArrayClips, held: ArrayClips, fps: float) -> Task:
    """The footage, one generator, its evaluator."""
    judging, context = config.judging, config.context
    statistics = recorded_statistics(context, judging.window)
    # Another hash than the one that held these clips out.
    calibration, check = held.split(0.5, group=lambda name: f"check {name}")
    monitor = Monitor(
        statistics=statistics,
        window=judging.window,
        max_frames=judging.max_frames,
        bands=footage_bands(calibration, check, statistics, judging),
    )
    real = footage_windows(check, context + judging.max_frames, judging.rollouts)
    evaluator = Evaluator(monitor=monitor, starts=real[:, :context])
    return Task(
        world=config.name,
        kind=kind,
        generator=build_generator(kind, held.shape, context, config.net),
        source=lambda seed: dataclasses.replace(train, seed=seed),
        held_out=check,
        truth=lambda frames: np.asarray(real[0, context : context + frames]),
        judge=lambda: evaluator,
        long=None,
        continued=None,
        budget=config.budget,
        choices=config.choices,
        recycling=config.recycling,
        mesh=make_mesh(),
        unjudged=calibration,
        fps=fps,
    )


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Runs this process's share; assembles and reports all cells that are there."""
    config = command.config
    # A workdir may grow by methods, generators and seeds: a cell does not depend on its neighbours.
    grows = {"methods", "kinds", "seeds"}
    directory = open_workdir(
        workdir, {k: v for k, v in dataclasses.asdict(config).items() if k not in grows}, data=data_hash(command.data)
    )
    jax.config.update("jax_compilation_cache_dir", str(directory.path / "compiled"))
    if command.earlier:
        take_over(command.earlier, directory, preset, config.judging.max_frames)
    train, held = load(command).split(config.held_out)
    fps = frame_rate(command.data) if command.data else FALLBACK_FPS
    comparison = Comparison(
        experiment="footage",
        preset=preset,
        question=QUESTION,
        command=written_out("footage", preset, PRESETS[preset](), command),
        methods=config.methods,
        seeds=config.seeds,
        strip_frames=config.judging.max_frames,
        table=TABLE,
        headline_method="ours",
        rivals=tuple(name for name in config.methods if name != "ours"),
    )
    builders = [functools.partial(build_task, kind, config, train, held, fps) for kind in config.kinds]
    tasks, cells = run_comparison(comparison, builders, directory, command.share)
    return conclude(comparison, tasks, cells, directory, config, command.publish)


if __name__ == "__main__":
    launch(main, PRESETS, name="footage_task")
