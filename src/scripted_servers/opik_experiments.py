"""What would an Opik server answer about datasets and experiments?"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from src.scripted_servers.opik_store import Row, is_version_7

STATUSES = {"running", "completed", "cancelled"}
ITEM_SOURCES = {"manual", "trace", "span", "sdk"}
FIELDS = {
    "dataset": {"id", "name", "project_id", "project_name", "type", "visibility", "tags", "description"},
    "item": {"id", "trace_id", "span_id", "source", "data", "description", "tags", "evaluators", "execution_policy"},
    "experiment": {
        *("id", "dataset_name", "project_id", "project_name", "name", "metadata", "tags", "type"),
        *("evaluation_method", "optimization_id", "status", "experiment_scores", "prompt_version"),
        *("prompt_versions", "dataset_version_id"),
    },
    "experiment item": {"id", "experiment_id", "dataset_item_id", "trace_id", "project_name", "project_id"},
}


class Refusal(Exception):
    """The request is not answered with success."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class ExperimentStore:
    """Datasets with their items and experiments with theirs, by id; safe across the threads of a server.

    As on a real server: items of a dataset that is not there make it; an item sent again under its id replaces the
    earlier one; an experiment or experiment item sent again under its id is a conflict; an experiment links traces
    and dataset items without asking whether they exist.
    """

    def __init__(self, now: Callable[[], str]) -> None:
        self._now = now
        self._lock = threading.RLock()
        self.datasets: dict[str, Row] = {}
        """By name."""
        self.items: dict[str, dict[str, Row]] = {}
        """By dataset name, then by id."""
        self.experiments: dict[str, Row] = {}
        self.experiment_items: dict[str, Row] = {}

    def respond(self, method: str, path: str, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        """Status and body of an answer. Raises Refusal."""
        kind, _, rest = path.removeprefix("/v1/private/").partition("/")
        with self._lock:
            handle = self._datasets if kind == "datasets" else self._experiments
            return handle(method, rest, body, asked)

    def _datasets(self, method: str, rest: str, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        match method, rest:
            case "POST", "":
                return 201, self._make_dataset(_known("dataset", body))
            case "POST", "retrieve":
                return 200, self._shown(self._dataset(body["dataset_name"]))
            case "PUT", "items":
                self._put_items(body)
                return 204, None
            case "GET", "":
                wanted = asked.get("name", "").lower()
                return 200, [self._shown(row) for row in self.datasets.values() if wanted in row["name"].lower()]
            case "GET", _ if rest.endswith("/items"):
                return 200, list(self.items[self._dataset_of(rest.removesuffix("/items"))["name"]].values())
            case "GET", _:
                return 200, self._shown(self._dataset_of(rest))
        raise Refusal("HTTP 405 Method Not Allowed", 405)

    def _experiments(self, method: str, rest: str, body: Any, asked: Mapping[str, str]) -> tuple[int, Any]:
        match method, rest:
            case "POST", "":
                return 201, self._make_experiment(_known("experiment", body))
            case "POST", "items":
                self._link(body["experiment_items"])
                return 204, None
            case "POST", "finish":
                for identity in body["ids"]:
                    self._experiment(identity)["status"] = "completed"
                return 204, None
            case "PATCH", _:
                self._experiment(rest).update(body)
                return 204, None
            case "GET", "":
                wanted = asked.get("name", "").lower()
                return 200, [row for row in self.experiments.values() if wanted in row["name"].lower()]
            case "GET", _:
                return 200, self._experiment(rest)
        raise Refusal("HTTP 405 Method Not Allowed", 405)

    def _make_dataset(self, body: Row) -> Row:
        name = body.get("name")
        if not name:
            raise Refusal("name must not be blank", 422)
        project = body.get("project_name")
        if project is not None and not project.strip():
            raise Refusal("project_name must not be blank", 422)
        if name in self.datasets:
            raise Refusal("Dataset already exists", 409)
        given = {key: value for key, value in body.items() if value is not None}
        self.datasets[name] = {"id": str(uuid5(NAMESPACE_URL, name)), "created_at": self._now(), **given}
        self.items[name] = {}
        return self.datasets[name]

    def _put_items(self, body: Row) -> None:
        items = _listed(body, "items")
        for item in items:
            _known("item", item)
            if item.get("source") not in ITEM_SOURCES or not isinstance(item.get("data"), dict):
                raise Refusal("an item needs its source and its data", 422)
        name = body.get("dataset_name") or self._dataset_of(body.get("dataset_id") or "")["name"]
        if name not in self.datasets:
            self._make_dataset({"name": name, "project_name": body.get("project_name")})
        for item in items:
            self.items[name][item["id"]] = item

    def _make_experiment(self, body: Row) -> Row:
        identity = body.get("id") or ""
        if not is_version_7(identity):
            raise Refusal("Experiment id must be a version 7 UUID")
        if identity in self.experiments:
            raise Refusal("Experiment already exists", 409)
        if body.get("status") not in STATUSES | {None}:
            raise Refusal("Unable to process JSON")
        name = body["dataset_name"]
        if name not in self.datasets:
            self._make_dataset({"name": name, "project_name": body.get("project_name")})
        row = {**body, "dataset_id": self.datasets[name]["id"], "created_at": self._now()}
        self.experiments[identity] = row
        return row

    def _link(self, items: Sequence[Row]) -> None:
        if not 1 <= len(items) <= 1000:
            raise Refusal("experiment_items size must be between 1 and 1000", 422)
        for item in items:
            _known("experiment item", item)
            for name in ("id", "experiment_id", "dataset_item_id", "trace_id"):
                if not is_version_7(item.get(name)):
                    raise Refusal(f"{name} must be a version 7 UUID")
        self.experiment_items.update({item["id"]: dict(item) for item in items})

    def _dataset(self, name: str) -> Row:
        if name not in self.datasets:
            raise Refusal("Dataset not found", 404)
        return self.datasets[name]

    def _dataset_of(self, identity: str) -> Row:
        found = next((row for row in self.datasets.values() if row["id"] == identity), None)
        if found is None:
            raise Refusal("Dataset not found", 404)
        return found

    def _experiment(self, identity: str) -> Row:
        if identity not in self.experiments:
            raise Refusal("Experiment not found", 404)
        return self.experiments[identity]

    def _shown(self, dataset: Row) -> Row:
        return dataset | {"dataset_items_count": len(self.items[dataset["name"]])}


def _known(kind: str, body: Any) -> Row:
    if not isinstance(body, dict):
        raise Refusal(f"the {kind} is no object")
    if unknown := sorted(set(body) - FIELDS[kind]):
        raise Refusal(f"unknown fields of a {kind}: {', '.join(unknown)}")
    if kind == "item" and not is_version_7(body.get("id")):
        raise Refusal("dataset_item id must be a version 7 UUID")
    return body


def _listed(body: Row, name: str) -> list[Row]:
    items = body.get(name)
    if not isinstance(items, list) or not 1 <= len(items) <= 1000:
        raise Refusal(f"{name} size must be between 1 and 1000", 422)
    return items
