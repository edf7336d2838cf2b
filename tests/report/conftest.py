"""A small result file, and what others are made of."""

import types

import pytest

from tests.report.made import BANDS, LAST, LIVES, make_cell, make_results


@pytest.fixture(scope="session")
def results():
    return make_results([make_cell(method, seed) for method in LIVES for seed in range(3)])


@pytest.fixture(scope="session")
def made():
    """What result files are made of, for tests that need another one."""
    return types.SimpleNamespace(cell=make_cell, results=make_results, bands=BANDS, last=LAST, methods=tuple(LIVES))
