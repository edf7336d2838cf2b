"""The tiny recycling run, its programs compiled once for all tests of training."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny():
    """The module `tiny.py` next to this file."""
    spec = importlib.util.spec_from_file_location("tiny_recycling_run", Path(__file__).with_name("tiny.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def program(tiny):
    """One `Program`, whose compiled parts all tests share."""
    return tiny.Program()
