"""Runs `tests/devices8` in a process of its own: eight fake devices would slow down every other test."""

import os
import subprocess
import sys
from pathlib import Path


def test_everything_in_devices8_passes_on_eight_fake_devices():
    folder = Path(__file__).parent / "devices8"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "8", "XLA_FLAGS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    run = subprocess.run(command, cwd=folder.parents[1], env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
