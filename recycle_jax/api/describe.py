"""A generator as JSON, and back: what a saved generator is rebuilt from.

Values are written as themselves; classes and functions by their import path; dataclasses, such as generators and
penalties, by class and fields; networks by the call that made them (`models.base.Source`); arrays by shape and dtype,
since only those matter where a network is made. Nothing is pickled: reading imports the named modules and calls what
is named there, so read files of people whose code you would run.
"""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.models.base import Network

KINDS = ("import", "dataclass", "network", "tuple", "dict", "array", "dtype")


def describe(value: Any, where: str = "generator") -> Any:
    """The JSON value that `rebuild` makes `value` of again.

    Raises:
        ValueError: if a part has no import path or is of a kind that cannot be written, with the name of the part.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Network):
        return {"network": _describe_network(value, where)}
    if isinstance(value, tuple):
        return {"tuple": [describe(part, f"{where}[{i}]") for i, part in enumerate(value)]}
    if isinstance(value, list):
        return [describe(part, f"{where}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, Mapping):
        return {"dict": {str(key): describe(part, f"{where}[{key!r}]") for key, part in value.items()}}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"dataclass": import_path(type(value), where), "fields": _describe_fields(value, where)}
    if isinstance(value, np.dtype):
        return {"dtype": value.name}
    if isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
        return {"array": list(value.shape), "dtype": str(value.dtype)}
    if callable(value):
        return {"import": import_path(value, where)}
    raise ValueError(
        f"{where} is a {type(value).__name__}, which cannot be saved: make it a number, a text or a dataclass"
    )


def rebuild(record: Any) -> Any:
    """The value that `describe` was given.

    Raises:
        ImportError: if a module or a name in it is not there, with the remedy.
    """
    if isinstance(record, list):
        return [rebuild(part) for part in record]
    if not isinstance(record, dict):
        return record
    if "network" in record:
        source = record["network"]
        return imported(source["function"])(*rebuild(source["args"]), **rebuild(source["kwargs"]))
    if "tuple" in record:
        return tuple(rebuild(part) for part in record["tuple"])
    if "dict" in record:
        return {key: rebuild(part) for key, part in record["dict"].items()}
    if "dataclass" in record:
        return imported(record["dataclass"])(**{name: rebuild(part) for name, part in record["fields"].items()})
    if "array" in record:
        return jax.ShapeDtypeStruct(tuple(record["array"]), jnp.dtype(record["dtype"]))
    if "dtype" in record:
        return jnp.dtype(record["dtype"])
    return imported(record["import"])


def import_path(value: Callable[..., Any], where: str) -> str:
    """`module:name` of a class or function.

    Raises:
        ValueError: if it cannot be imported from there: a lambda, something inside a function, a notebook's cell.
    """
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    module = _script_name() if module == "__main__" else module
    if not module or not name or "<" in name:
        raise ValueError(
            f"{where} is {name or value!r}, which has no import path, so that another program could not find it: "
            "define it at the top of a module (a file) and pass keyword arguments where it needs settings, or save the "
            "parameters alone with save(None, params, folder)"
        )
    return f"{module}:{name}"


def imported(path: str) -> Any:
    """The object at `module:name`.

    Raises:
        ImportError: if it is not there.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ImportError(
            f"the saved generator was made of {name} in the module {module}, which cannot be imported here ({error}): "
            f"put the folder that holds {module.replace('.', '/')}.py on PYTHONPATH, or pass load(folder, generator)"
        ) from error
    return found


def _describe_network(network: Network, where: str) -> dict[str, Any]:
    source = network.source
    if source is None:
        raise ValueError(
            f"{where} is a Network that does not know how it was made: use rj.generators.from_nnx, from_linen or "
            "from_function, or save the parameters alone with save(None, params, folder)"
        )
    return {
        "function": import_path(source.function, where),
        "args": [describe(part, f"{where}, argument {i}") for i, part in enumerate(source.args)],
        "kwargs": describe(dict(source.kwargs), where),
    }


def _describe_fields(value: Any, where: str) -> dict[str, Any]:
    # Linen modules are dataclasses too; flax sets `parent` and `name` by itself.
    fields = [field.name for field in dataclasses.fields(value) if field.init and field.name not in ("parent", "name")]
    return {name: describe(getattr(value, name), f"{where}.{name}") for name in fields}


def _script_name() -> str:
    """The module that the running script would be imported as; empty in a notebook or an interactive session."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else ""
