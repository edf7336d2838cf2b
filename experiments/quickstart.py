"""From nothing to a generator that stays stable, in minutes: train, recycle, compare, look.

Question: a small generator of a bouncing ball slows it down, swells it and loses it on its own output. What do a few
rounds of error recycling change, against training on, and against noise augmentation, at the same total cost?

Expected: the recycled generator's ball bounces on past the thousandth frame where the others' is slow or gone after one
or two hundred. `experiments.worlds` has the evidence over seeds.

    python -m experiments.quickstart

About five minutes on two idle cores, compilation included; the page to open is `runs/quickstart/report.html`.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.arena import Budget
from experiments.contest import Contest
from experiments.worlds import TRIALS, Command, Config, run, smoke
from recycle_jax.cli import parse

METHODS = ("b", "b_plus", "noise", "recycle")
QUESTION = "Can a video generator be taught to recover from its own mistakes?"


def small() -> Command:
    """Two cores or a laptop: one world, one generator, one seed."""
    config = Config(
        worlds=("balls",),
        kinds=("predictor",),
        methods=METHODS,
        seeds=(0,),
        long_methods=(),
    )
    return Command(config=config)


def full() -> Command:
    """One GPU: five seeds of a longer training."""
    short = small().config
    config = dataclasses.replace(short, seeds=(0, 1, 2, 3, 4), budget=Budget(base=10_000))
    return Command(config=config)


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": small, "full": full, "pod": full}


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Runs the contest and says where the report is."""
    config = command.config
    contest = Contest(
        experiment="quickstart",
        preset=preset,
        question=QUESTION,
        command="python -m experiments.quickstart",
        methods=config.methods,
        seeds=config.seeds,
        strip_frames=config.judging.max_frames,
        tuning_trials=TRIALS,
    )
    results = run(contest, command, workdir)
    print(f"report: {Path(workdir) / 'report.html'}", file=sys.stderr)
    return results


if __name__ == "__main__":
    chosen = parse(PRESETS, name="quickstart")
    main(chosen.config, chosen.workdir, chosen.preset)
