"""What is said where a package of an extra is missing."""

import json
import sys

import pytest

from recycle_jax.extras import require

pytestmark = pytest.mark.fast


def test_what_is_installed_is_imported():
    assert require("json", extra="video") is json


def test_the_message_names_the_command():
    with pytest.raises(
        ImportError, match=r'no_such_package is not installed: run `pip install "recycle_jax\[video\]"`'
    ):
        require("no_such_package.part", extra="video")


def test_an_error_inside_of_an_installed_package_is_its_own(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import what_it_lacks\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'what_it_lacks'"):
        require("half_installed", extra="video")
    assert "half_installed" not in sys.modules
