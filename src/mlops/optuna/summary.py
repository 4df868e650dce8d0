"""What did a study give? Its trials, its best, its rows for the database, all read from the study alone."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from src.domain.modelling import Direction
from src.errors import HPOError
from src.mlops.optuna.factories import method_name
from src.mlops.optuna.results import EarlierSearch, HPOSummary, TrialCounts, TrialRecord, WarmStart
from src.mlops.optuna.spaces import RawSpace, plain_space

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

# Attributes of a study.
SUBJECT, METHODS, STOPPED, WARMSTART = "subject", "methods", "stopped_because", "warmstart"
EARLIER = "earlier_searches"
# Attributes of a trial: why it failed, what it trained, who runs it, the pattern it repeats, whether it has the
# algorithm's defaults.
ERROR, RESOURCE, OWNER, PATTERN, DEFAULTS = "error", "resource_used", "owner", "pattern_id", "defaults"
_FINISHED = ("COMPLETE", "PRUNED", "FAIL")
# A trial that ended without a word: its process was killed, or stopped giving signs of life.
WORKER_GONE = "the process that ran it ended"


@dataclass(frozen=True, slots=True)
class StudySubject:
    """What is searched: kept with the study, so that a resumed or shared one is the same search.

    ``rows``: a fingerprint of the training and validation rows; None where the study was made without any.
    """

    algorithm: str
    problem_type: str
    metric: str
    search_space: Mapping[str, Any] = field(default_factory=dict)
    fixed_params: Mapping[str, Any] = field(default_factory=dict)
    rows: str | None = None
    balanced: bool = False
    early_stopping_rounds: int | None = None
    random_state: int | None = None

    @classmethod
    def of(
        cls,
        algorithm: str,
        problem_type: str,
        metric: str,
        search_space: RawSpace,
        fixed_params: Mapping[str, Any],
        **others: Any,
    ) -> StudySubject:
        """With everything as JSON gives it back; ``others`` are the further fields.

        Raises HPOError for a bad space and for values JSON does not have.
        """
        try:
            fixed = json.loads(json.dumps(dict(fixed_params), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise HPOError(f"fixed parameters must be numbers, texts and lists of them: {error}") from error
        return cls(algorithm, str(problem_type), metric, plain_space(search_space), fixed, **others)


def subject_of(study: Study) -> StudySubject | None:
    """What the study says it searches; None where it was made without saying."""
    told = study.user_attrs.get(SUBJECT)
    return None if told is None else StudySubject(**told)


def direction_of(study: Study) -> Direction:
    """Whether less or more is better."""
    return "minimize" if study.direction.name == "MINIMIZE" else "maximize"


def finished_trials(study: Study) -> list[FrozenTrial]:
    """Trials that ended, in order of their number."""
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in _FINISHED]


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """One finished trial; only a complete one has a value."""
    state = trial.state.name
    return TrialRecord(
        number=trial.number,
        state=state,
        value=trial.value if state == "COMPLETE" else None,
        params=dict(trial.params),
        intermediate_values=dict(trial.intermediate_values),
        duration_s=trial.duration.total_seconds() if trial.duration is not None else None,
        error=trial.user_attrs.get(ERROR, WORKER_GONE) if state == "FAIL" else None,
        origin=_origin(trial),
        defaults=bool(trial.user_attrs.get(DEFAULTS, False)),
    )


def _origin(trial: FrozenTrial) -> str | None:
    if PATTERN in trial.user_attrs:
        return f"warm_start:{trial.user_attrs[PATTERN]}"
    return "defaults" if trial.user_attrs.get(DEFAULTS) else None


def history(study: Study) -> tuple[TrialRecord, ...]:
    """Every finished trial."""
    return tuple(trial_record(trial) for trial in finished_trials(study))


def counts(trials: Iterable[FrozenTrial]) -> TrialCounts:
    """How many trials ended how."""
    by_state = Counter(trial.state.name for trial in trials)
    return TrialCounts(by_state["COMPLETE"], by_state["PRUNED"], by_state["FAIL"])


def failure_causes(trials: Iterable[FrozenTrial]) -> str:
    """The distinct errors of failed trials, the most frequent first."""
    said = Counter(trial_record(trial).error or "" for trial in trials if trial.state.name == "FAIL")
    return "; ".join(cause if n == 1 else f"{cause} ({n} times)" for cause, n in said.most_common())


def busy_seconds(trials: Iterable[FrozenTrial]) -> float:
    """Seconds in which at least one trial ran: pauses between a killed search and its resumption do not count."""
    spans = sorted(
        (trial.datetime_start, trial.datetime_complete)
        for trial in trials
        if trial.datetime_start is not None and trial.datetime_complete is not None
    )
    total, reached = 0.0, None
    for start, end in spans:
        begin = start if reached is None or start > reached else reached
        if end > begin:
            total += (end - begin).total_seconds()
            reached = end
    return total


def summarize(study: Study) -> HPOSummary:
    """The search as it stands. Raises HPOError, with the distinct causes, when no trial gave a value."""
    trials = finished_trials(study)
    number = counts(trials)
    if number.completed == 0:
        raise HPOError(_nothing_found(study, number, trials))
    best, subject = study.best_trial, subject_of(study)
    return HPOSummary(
        completed=True,
        best_params=dict(best.params),
        best_value=float(study.best_value),
        best_trial=best.number,
        metric=subject.metric if subject else "value",
        direction=direction_of(study),
        trials=number,
        duration_s=busy_seconds(trials),
        study_name=study.study_name,
        warmstart=tuple(map(_warmstart, study.user_attrs.get(WARMSTART, ()))),
        stopped_because=study.user_attrs.get(STOPPED, "trials"),
        resource_used=sum(int(trial.user_attrs.get(RESOURCE, 0)) for trial in trials),
    )


def remember_warmstart(study: Study, starts: Sequence[WarmStart]) -> None:
    """Keep with the study what it began with."""
    study.set_user_attr(WARMSTART, [{**asdict(start), "params": dict(start.params)} for start in starts])


def remember_earlier(study: Study, searches: Sequence[EarlierSearch]) -> None:
    """Keep with the study what like searches tried, for whoever goes on with it."""
    if searches:
        study.set_user_attr(EARLIER, [asdict(search) for search in searches])


def earlier_searches(study: Study) -> tuple[EarlierSearch, ...]:
    """What like searches before it tried; empty for a study that began cold."""
    told = study.user_attrs.get(EARLIER, ())
    return tuple(
        EarlierSearch(one["pattern_id"], one["similarity"], tuple((params, value) for params, value in one["trials"]))
        for one in told
    )


def _nothing_found(study: Study, number: TrialCounts, trials: Sequence[FrozenTrial]) -> str:
    name = study.study_name
    if number.total == 0:
        return f"no trial of the study {name} has ended"
    if number.pruned == 0:
        return f"all {number.failed} trials of the study {name} failed: {failure_causes(trials)}"
    said = f"; {number.failed} failed: {failure_causes(trials)}" if number.failed else ""
    late = "; the time was up: allow more of it" if study.user_attrs.get(STOPPED) == "timeout" else ""
    return f"no trial of the study {name} was completed: {number.pruned} were pruned{said}{late}"


def rows_to_keep(study: Study, experiment_id: str | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of the study and of its trials, of one moment: others may be adding trials. Raises HPOError."""
    trials = finished_trials(study)
    return study_row(study, experiment_id=experiment_id, trials=trials), trial_rows(study, trials)


def study_row(
    study: Study, *, experiment_id: str | None = None, trials: Sequence[FrozenTrial] | None = None
) -> dict[str, Any]:
    """The study as a row of ``ml_hpo_studies``; ``experiment_id`` is the row of ``ml_experiments``.

    ``trials`` are those that count; without them all that have ended by now. Raises HPOError for a study without a
    finished trial, or made without saying what it searches.
    """
    subject, trials = subject_of(study), finished_trials(study) if trials is None else trials
    if subject is None:
        raise HPOError(f"the study {study.study_name} does not say what it searches: give create_study a subject")
    if not trials:
        raise HPOError(f"the study {study.study_name} has no finished trial to save")
    number = counts(trials)
    best = study.best_trial if number.completed else None
    sampler, pruner = study.user_attrs.get(METHODS, (method_name(study.sampler), method_name(study.pruner)))
    return {
        "study_name": study.study_name,
        "experiment_id": experiment_id,
        "algorithm_name": subject.algorithm,
        "problem_type": subject.problem_type,
        "direction": direction_of(study),
        "sampler_name": sampler,
        "pruner_name": pruner,
        "metric": subject.metric,
        "search_space": dict(subject.search_space),
        "fixed_params": dict(subject.fixed_params),
        "n_trials": number.total,
        "n_completed": number.completed,
        "n_pruned": number.pruned,
        "n_failed": number.failed,
        "best_trial_number": best.number if best else None,
        "best_value": best.value if best else None,
        "best_params": dict(best.params) if best else None,
        "duration_seconds": busy_seconds(trials),
        "started_at": min(at for trial in trials if (at := _utc(trial.datetime_start)) is not None),
        "completed_at": max(
            (at for trial in trials if (at := _utc(trial.datetime_complete)) is not None), default=None
        ),
        "status": "completed" if best else "failed",
        "error_message": None if best else _nothing_found(study, number, trials),
    }


def trial_rows(study: Study, trials: Sequence[FrozenTrial] | None = None) -> list[dict[str, Any]]:
    """The finished trials (those given, otherwise all) as rows of ``ml_hpo_trials``."""
    return [_trial_row(trial) for trial in (finished_trials(study) if trials is None else trials)]


def _trial_row(trial: FrozenTrial) -> dict[str, Any]:
    record = trial_record(trial)
    return {
        "trial_number": record.number,
        "state": record.state,
        "params": dict(record.params),
        "value": record.value,
        # JSON has no NaN.
        "intermediate_values": {str(s): v for s, v in record.intermediate_values.items() if math.isfinite(v)},
        "started_at": _began(trial),
        "completed_at": _ended(trial),
        "duration_seconds": record.duration_s,
        "error_message": record.error,
        "attrs": {key: trial.user_attrs[key] for key in (RESOURCE, PATTERN, DEFAULTS) if key in trial.user_attrs},
    }


def _began(trial: FrozenTrial) -> datetime | None:
    return _utc(trial.datetime_start)


def _ended(trial: FrozenTrial) -> datetime | None:
    return _utc(trial.datetime_complete)


def _utc(at: datetime | None) -> datetime | None:
    # Optuna keeps the local time of the process without its zone.
    return None if at is None else at.astimezone(UTC)


def _warmstart(told: Mapping[str, Any]) -> WarmStart:
    """An import as it was kept; what studies kept of one in the past and nobody asks for now is left out."""
    return WarmStart(**{one.name: told[one.name] for one in fields(WarmStart) if one.name in told})
