"""Optional libraries, imported where they are used; a missing one says the command that installs it."""

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """An optional library.

    Args:
      module: its dotted name, as in `import`.
      extra: which of edgenas' extras (`pyproject.toml`) brings it.

    Raises:
      ValueError: when it is not installed, with the command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:  # it is there; something that it needs is not
            raise
        raise ValueError(f"`{module}` is not installed; run `pip install 'edgenas[{extra}]'`") from error
