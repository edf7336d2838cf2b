"""Packages that only some jobs need: imported where they are used, and asked for by name where they are missing."""

import importlib
from types import ModuleType


def require(module: str, *, extra: str) -> ModuleType:
    """Imports a package of an extra.

    Args:
        module: dotted name of the module, such as `"av"`.
        extra: the extra of `pyproject.toml` that declares its package, such as `"video"`.

    Raises:
        ImportError: the package is not installed, with the command that installs it. An error inside of a package that
            is installed is passed on as it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        package = module.split(".")[0]
        raise ModuleNotFoundError(
            f'{package} is not installed: run `pip install "recycle_jax[{extra}]"`', name=error.name
        ) from error
