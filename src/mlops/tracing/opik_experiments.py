"""How does an evaluation become a dataset and an experiment in Opik?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from src.domain.identifiers import without_identifiers
from src.errors import ServiceOutage
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.ids import uuid_text
from src.mlops.tracing.json_http import JsonHttp, in_batches
from src.mlops.tracing.opik_sink import BYTES_PER_REQUEST, CONFLICT, ITEMS_PER_REQUEST, opik_http
from src.mlops.tracing.opik_wire import Body, mirror_id
from src.mlops.tracing.privacy import Redactor
from src.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from src.resilience.outages import retry_after_seconds
from src.resilience.outcomes import Unavailable

if TYPE_CHECKING:
    import httpx

# The time in ids that are made from a name: all of them are equally old.
_NAMED_AT_MS = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class ExperimentSample:
    """A sample of the dataset under its own stable ``key``, and the trace that came of it, where there is one."""

    key: str
    data: Mapping[str, Any]
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One evaluation of one dataset. ``run_id`` names it: recorded again, it is the same experiment.

    ``scores`` are finite numbers of the whole run; ``metadata`` holds JSON values.
    """

    run_id: str
    name: str
    dataset_name: str
    samples: Sequence[ExperimentSample]
    began_at: datetime
    project: str | None = None
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RecordedExperiment:
    """What the server has: the experiment's id there, and how many items and linked traces."""

    experiment_id: str
    dataset_name: str
    items: int
    linked: int


class OpikExperiments:
    """Writes datasets and experiments to an Opik server; blocking.

    Ids are made from names, so that recording a run again changes nothing and an interrupted recording is completed
    by the next. Secrets and what looks like an identifier of a person leave the samples before they are sent;
    ``redact`` are further keys never sent. Raises ConfigError at once for settings without a usable address or key.
    """

    def __init__(
        self,
        settings: OpikSettings,
        *,
        breaker: CircuitBreaker,
        most_items: int = ITEMS_PER_REQUEST,
        most_bytes: int = BYTES_PER_REQUEST,
        client: httpx.Client | None = None,
        redact: Iterable[str] = (),
    ) -> None:
        self._project = settings.project_name
        self._most, self._most_bytes = most_items, most_bytes
        self._redactor = Redactor(redact)
        self._http: JsonHttp = opik_http(settings, breaker=breaker, client=client)

    def record(self, experiment: Experiment) -> RecordedExperiment | Unavailable:
        """Store the dataset's items, then the experiment, then which trace belongs to which item.

        Unavailable while the server cannot be reached. Raises ServiceRefused when it will never take this.
        """
        project = experiment.project or self._project
        links = experiment_items(experiment, project)
        try:
            self._make("/v1/private/datasets", dataset_body(experiment, project))
            self._send(
                "PUT",
                "/v1/private/datasets/items",
                {"dataset_name": experiment.dataset_name, "project_name": project},
                "items",
                dataset_items(replace(experiment, samples=[self._cleaned(one) for one in experiment.samples])),
            )
            self._make("/v1/private/experiments", experiment_body(experiment, project))
            self._send("POST", "/v1/private/experiments/items", {}, "experiment_items", links)
        except ServiceOutage as error:
            after = error.retry_after_s if isinstance(error, CircuitOpenError) else retry_after_seconds(error)
            return Unavailable("opik", str(error), after)
        return RecordedExperiment(
            experiment_id(experiment), experiment.dataset_name, len(experiment.samples), len(links)
        )

    def _cleaned(self, sample: ExperimentSample) -> ExperimentSample:
        return replace(sample, data=_without_identifiers(self._redactor.clean({**sample.data})))

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def _make(self, path: str, body: Body) -> None:
        self._http.call("POST", path, body=orjson.dumps(body), accept=(CONFLICT,))

    def _send(self, method: str, path: str, fixed: Body, key: str, items: Sequence[Body]) -> None:
        encoded = [orjson.dumps(item) for item in items]
        for batch in in_batches(encoded, most=self._most, most_bytes=self._most_bytes):
            content = orjson.dumps({**fixed, key: [orjson.Fragment(item) for item in batch]})
            self._http.call(method, path, body=content, accept=(CONFLICT,))


def _without_identifiers(value: Any) -> Any:
    """A copy of a JSON-like value; the redactor's patterns are for short texts, a document's tables need more."""
    if isinstance(value, str):
        return without_identifiers(value)
    if isinstance(value, Mapping):
        return {key: _without_identifiers(item) for key, item in value.items()}
    return [_without_identifiers(item) for item in value] if isinstance(value, list | tuple) else value


def dataset_body(experiment: Experiment, project: str) -> Body:
    """Dataset_Write."""
    described = {"description": experiment.description} if experiment.description.strip() else {}
    return {"name": experiment.dataset_name, "project_name": project, **described}


def dataset_items(experiment: Experiment) -> list[Body]:
    """DatasetItem_Write of every sample; the same sample of the same dataset has the same id in every run."""
    return [
        {
            "id": named_id(experiment.dataset_name, sample.key),
            "source": "sdk",
            "data": {"sample_id": sample.key, **sample.data},
        }
        for sample in experiment.samples
    ]


def experiment_body(experiment: Experiment, project: str) -> Body:
    """Experiment_Write, finished: it is recorded after the evaluation."""
    return {
        "id": experiment_id(experiment),
        "name": experiment.name,
        "dataset_name": experiment.dataset_name,
        "project_name": project,
        "metadata": {"run_id": experiment.run_id, **experiment.metadata},
        "tags": list(experiment.tags),
        "type": "regular",
        "status": "completed",
        "experiment_scores": [{"name": name, "value": value} for name, value in experiment.scores.items()],
    }


def experiment_items(experiment: Experiment, project: str) -> list[Body]:
    """ExperimentItem of every sample that has a trace."""
    began = experiment.began_at.astimezone(UTC).isoformat()
    return [
        {
            "id": named_id(experiment.run_id, sample.key),
            "experiment_id": experiment_id(experiment),
            "dataset_item_id": named_id(experiment.dataset_name, sample.key),
            "trace_id": mirror_id(sample.trace_id, began),
            "project_name": project,
        }
        for sample in experiment.samples
        if sample.trace_id is not None
    ]


def experiment_id(experiment: Experiment) -> str:
    """The experiment's id in Opik."""
    milliseconds = int(experiment.began_at.timestamp() * 1000)
    return named_id("experiment", experiment.run_id, milliseconds)


def named_id(space: str, name: str, milliseconds: int = _NAMED_AT_MS) -> str:
    """A UUID version 7 that is the same for the same names; its random bits are those of a SHA-256."""
    digest = int.from_bytes(hashlib.sha256(orjson.dumps([space, name])).digest()[:10], "big")
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 16 | 0x7 << 12 | (digest >> 62) & 0xFFF
    return uuid_text(high << 64 | 0b10 << 62 | digest & (1 << 62) - 1)
