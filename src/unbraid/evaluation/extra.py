"""Late import of the libraries that the `evaluate` extra brings."""

import importlib
from typing import Any


def require(module: str, package: str | None = None) -> Any:
    """The module named `module` (Any: these libraries ship no types), imported on use.

    Raises MissingExtraError when it is absent; `package` is its name on PyPI where that differs.
    """
    from unbraid.errors import MissingExtraError

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise  # the library is there, something inside it is broken: not ours to rename
        raise MissingExtraError(package or module, "evaluate") from error
