"""From nothing to a generator that stays stable, in minutes: train, recycle, compare, look.

Question: a small generator of a bouncing ball slows it down, swells it and loses it on its own output. What does the
recipe of error recycling (`histories.recycle`) change, against training on at the same total cost, at the usual
learning rate and at the recipe's?

Expected: at the usual rate half of the rollouts are slow or gone after a hundred frames; at the recipe's rate, with it
or without, half last about a thousand and more. One run tells these two not apart: `experiments.compare` has
the evidence over seeds, worlds and rivals.

    python -m experiments.quickstart

About five minutes on two idle cores, compilation included; the page to open is `runs/quickstart/report.html`.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.comparison.builders import ours, recycling, with_learning_rate
from experiments.comparison.method import METHODS, Method
from experiments.comparison.runner import Comparison
from experiments.comparison.task import Budget, Choices
from experiments.comparison.worlds_task import Command, Config, run
from experiments.comparison.worlds_task import smoke as smoke_of_worlds
from recycle_jax.cli import parse
from recycle_jax.histories.recipe import Recycling

TABLE: dict[str, Method] = {
    "b": METHODS["b"],
    "b_plus": METHODS["b_plus"],
    "b_plus:fast": with_learning_rate(METHODS["b_plus"]),
    "ours": ours(recycling()),
}
QUESTION = "Can a video generator be taught to recover from its own mistakes?"


def smoke() -> Command:
    """Through the same code in about a minute."""
    config = smoke_of_worlds().config
    return Command(config=dataclasses.replace(config, methods=tuple(TABLE), long_methods=()))


def small() -> Command:
    """Two cores or a laptop: one world, one generator, one seed."""
    config = Config(
        worlds=("balls",),
        kinds=("predictor",),
        methods=tuple(TABLE),
        seeds=(0,),
        ball_choices=Choices(time=True),
        recycling=Recycling(noise=0.05),
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
    contest = Comparison(
        experiment="quickstart",
        preset=preset,
        question=QUESTION,
        command="python -m experiments.quickstart",
        methods=config.methods,
        seeds=config.seeds,
        strip_frames=config.judging.max_frames,
        tuning_trials=(("ours", 27),),
        table=TABLE,
        headline_method="ours",
        rivals=("b_plus:fast", "b_plus", "b"),
    )
    results = run(contest, command, workdir)
    print(f"report: {Path(workdir) / 'report.html'}", file=sys.stderr)
    return results


if __name__ == "__main__":
    chosen = parse(PRESETS, name="quickstart")
    main(chosen.config, chosen.workdir, chosen.preset)
