"""Every known remedy for drift at equal compute, evaluated the same way: the evidence behind the library.

    python -m experiments.compare --preset small

What it asks, expects and costs is said in `experiments.comparison.suite`.
"""

from experiments.comparison.suite import PRESETS, main
from recycle_jax.cli import parse

if __name__ == "__main__":
    chosen = parse(PRESETS, name="compare")
    main(chosen.config, chosen.workdir, chosen.preset)
