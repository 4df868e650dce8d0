"""What does a new study try first? What was best in like searches, then the algorithm's defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from src.mlops.modelling.families import default_params
from src.mlops.optuna.configuration import OptunaConfig
from src.mlops.optuna.results import EarlierSearch, WarmStart
from src.mlops.optuna.spaces import clip_to_space, default_point
from src.mlops.optuna.summary import (
    DEFAULTS,
    PATTERN,
    StudySubject,
    remember_earlier,
    remember_warmstart,
    subject_of,
)
from src.mlops.optuna.transfer import equip, name_methods

if TYPE_CHECKING:
    from optuna.study import Study

Params = Mapping[str, Any]


def enqueue_warmstarts(
    study: Study, starts: Sequence[WarmStart], config: OptunaConfig, *, defaults: Params | None = None
) -> tuple[WarmStart, ...]:
    """Queue up to ``max_import_trials`` past bests, in the order given, clipped to the study's space; the ones queued.

    One that says the same as an earlier one is left out, one that repeats the ``defaults`` is marked as they are.
    Nothing is queued when warm starts are switched off, or for a study that has begun.
    """
    if not config.warmstart.enabled or not starts or study.get_trials(deepcopy=False):
        return ()
    subject, used = subject_of(study), list[WarmStart]()
    for start in starts:
        params = clip_to_space(start.params, subject.search_space) if subject else dict(start.params)
        if not params or any(alike(params, earlier.params) for earlier in used):
            continue
        marks = {PATTERN: start.pattern_id}
        study.enqueue_trial(params, marks | _mark(defaults is not None and alike(params, defaults)))
        used.append(replace(start, params=params))
        if len(used) == config.warmstart.max_import_trials:
            break
    remember_warmstart(study, used)
    return tuple(used)


def queue_first_trials(study: Study, subject: StudySubject, starts: Sequence[WarmStart], config: OptunaConfig) -> None:
    """Queue the warm starts and the algorithm's defaults, each once. An empty space has nothing to queue."""
    if not subject.search_space:
        return
    usual = {**default_params(subject.algorithm), **subject.fixed_params}
    defaults = {**default_point(subject.search_space), **clip_to_space(usual, subject.search_space)}
    queued = enqueue_warmstarts(study, starts, config, defaults=defaults)
    if not any(alike(start.params, defaults) for start in queued):
        study.enqueue_trial(defaults, _mark(True))


def begin(
    study: Study,
    subject: StudySubject,
    starts: Sequence[WarmStart],
    earlier: Sequence[EarlierSearch],
    config: OptunaConfig,
    random_state: int,
) -> None:
    """Queue the first trials of a new study and let what ``earlier`` searches tried guide those after them."""
    queue_first_trials(study, subject, starts, config)
    if config.warmstart.enabled:
        remember_earlier(study, earlier[: config.warmstart.max_searches])
    equip(study, config, random_state)
    name_methods(study)


def _mark(defaults: bool) -> dict[str, Any]:
    return {DEFAULTS: True} if defaults else {}


def alike(one: Params, other: Params) -> bool:
    """Whether the values are the same, numbers but for what no training tells apart."""
    return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5)
    return type(one) is type(other) and one == other
