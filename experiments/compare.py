"""Every known remedy for drift at equal compute, evaluated the same way: the evidence behind the library.

    python -m experiments.compare --preset small

What it asks, expects and costs is said in `experiments.comparison.suite`.
"""

from experiments.comparison.suite import PRESETS, main
from recycle_jax.cli import launch

if __name__ == "__main__":
    launch(main, PRESETS, name="compare")
