"""What can go wrong, each named for it; the message says what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol


class E2IError(Exception):
    """Root of every error E2I raises on purpose."""


class ConfigError(E2IError):
    """A configuration file or environment variable is wrong."""


class ContractViolation(E2IError):
    """Data or a name breaks the declared data contract."""


class DataUnavailable(E2IError):
    """The data an operation needs is not there; nothing is put in its place."""


class DatasetNotFound(DataUnavailable):
    """No dataset of that id or name is in the catalogue."""


class UnreadableFile(DataUnavailable):
    """A file is missing, empty, binary or otherwise not a table."""


class UnknownColumn(ContractViolation):
    """A column was named that the data does not have."""

    def __init__(self, name: str, available: Sequence[str], *, role: str = "column") -> None:
        self.name = name
        super().__init__(f"{role} '{name}' is not in the data; {nearest_names(name, available)}")


class RowsRejected(ContractViolation):
    """A load was refused as a whole because some rows break the contract."""


class EstimationError(E2IError):
    """An estimator cannot answer; no other estimator answers in its place."""


class StudyInvalid(EstimationError):
    """Treatment, outcome or keys do not describe an analysable study."""


class TooFewRows(EstimationError):
    """Fewer rows than the design needs."""


class OverlapViolated(EstimationError):
    """Treated and untreated units are not comparable: propensities near 0 or 1."""


class WeakInstrument(EstimationError):
    """The instrument barely moves the treatment."""


class GraphInvalid(E2IError):
    """A causal graph file is unreadable, cyclic or contradicts the question."""


class QuestionNotUnderstood(E2IError):
    """A question names nothing, or something that does not exist."""


class RunNotFound(E2IError):
    """No analysis run of that id is recorded."""


class ServiceOutage(E2IError):
    """A service cannot be reached, is overloaded or fails; trying later may help."""


class ServiceRefused(E2IError):
    """A service answered and said no: wrong credentials, unknown name, invalid request."""


class TraceNotFound(DataUnavailable):
    """No trace of that id is stored."""


class SpoolUnusable(E2IError):
    """The folder that keeps undelivered records cannot be read or written."""


class LLMError(E2IError):
    """A model call did not give a usable reply."""


class BudgetExhausted(LLMError):
    """The run's budget of tokens or money does not allow another call."""


class MalformedReply(LLMError):
    """A reply did not match the requested schema, also after one repair."""


class ModelRefused(LLMError):
    """The model declined to answer."""


class ModelNotFound(DataUnavailable):
    """No model of that name, version or address exists."""


class HPOError(E2IError):
    """A hyperparameter search cannot be carried out."""


class PromotionRefused(E2IError):
    """A model may not move to the requested stage."""


class CheckpointResult(Protocol):
    """What a data-quality checkpoint found."""

    def headline(self) -> str:
        """The finding in one line."""
        ...


class DataQualityCheckpointError(E2IError):
    """A data-quality gate blocked; ``result`` says what was found."""

    def __init__(self, result: CheckpointResult) -> None:
        self.result = result
        super().__init__(result.headline())


class MaterializationFailed(E2IError):
    """Features could not be carried into the online store; the failed job is recorded."""


class UnknownFeature(ContractViolation):
    """A feature view, feature or entity was named that the feature store does not have."""


class GuardrailViolation(E2IError):
    """A proposed change breaks a guardrail."""


class MigrationError(E2IError):
    """The database schema cannot be brought up to date."""


class DatabaseUnavailable(E2IError):
    """PostgreSQL cannot be started or reached."""


def nearest_names(name: str, available: Iterable[str], *, limit: int = 3) -> str:
    """Return "did you mean …" for the names closest to ``name``, or the first names there are."""
    from rapidfuzz import process  # only when a name was wrong: the command line starts without it

    names = [str(candidate) for candidate in available]
    close = [match for match, _, _ in process.extract(name, names, limit=limit, score_cutoff=60)]
    if close:
        return "did you mean " + " or ".join(f"'{match}'" for match in close) + "?"
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"there is: {shown}" if names else "there is none at all"
