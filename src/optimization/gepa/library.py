"""How are dspy and gepa loaded so that they print nothing, log no texts and keep no files of their own?"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from types import ModuleType, SimpleNamespace
from typing import Any

from src.settings import var_dir

# Where they print, or show a bar, in the calls that are made here.
_TALKATIVE = (
    "dspy.utils.parallelizer",
    "dspy.teleprompt.bootstrap",
    "dspy.teleprompt.utils",
    "dspy.teleprompt.mipro_optimizer_v2",
    "dspy.propose.grounded_proposer",
    "dspy.propose.dataset_summary_generator",
    "dspy.propose.utils",
    "gepa.core.engine",
)


@functools.cache
def load_dspy() -> Any:
    """The dspy module, loaded on first use (about a second).

    Its bars and prints go to stdout, where a command prints JSON, and there is no switch for them in what GEPA and
    MIPROv2 call: the modules concerned get a silent ``print`` and disabled bars.
    """
    os.environ.setdefault("DSPY_CACHEDIR", str(var_dir() / "cache" / "dspy"))
    import dspy

    for name in _TALKATIVE:
        _silence(importlib.import_module(name))
    # Below an error they log proposed prompts and scores; both are in the results.
    logging.getLogger("dspy").setLevel(logging.ERROR)
    return dspy


def score_with_feedback(score: float, feedback: str) -> Any:
    """What a metric gives GEPA: a score in 0–1 and what was wrong in words."""
    load_dspy()
    from dspy.teleprompt.gepa.gepa_utils import ScoreWithFeedback

    return ScoreWithFeedback(score=score, feedback=feedback)


def _silence(module: ModuleType) -> None:
    module.__dict__["print"] = _nothing
    bar = module.__dict__.get("tqdm")
    if isinstance(bar, ModuleType):
        module.__dict__["tqdm"] = SimpleNamespace(tqdm=_disabled(bar.tqdm))
    elif bar is not None:
        module.__dict__["tqdm"] = _disabled(bar)


def _nothing(*_: object, **__: object) -> None:
    """In place of ``print``."""


def _disabled(bar: Any) -> Any:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        bar.__init__(self, *args, **{**kwargs, "disable": True})

    return type("DisabledBar", (bar,), {"__init__": __init__})
