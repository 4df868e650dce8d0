"""How is SHAP loaded, once, late and silently?"""

from __future__ import annotations

import functools
import importlib
import warnings
from types import ModuleType

from src.errors import ConfigError


@functools.cache
def shap_library() -> ModuleType:
    """The ``shap`` package; seconds on the first call. Raises ConfigError where it is not installed."""
    try:
        with warnings.catch_warnings():
            # Its colour maps use a function that matplotlib is about to drop.
            warnings.simplefilter("ignore")
            return importlib.import_module("shap")
    except ModuleNotFoundError as error:
        if error.name != "shap":
            raise
        raise ConfigError("the shap package is not installed: pip install 'e2i[training]'") from error
