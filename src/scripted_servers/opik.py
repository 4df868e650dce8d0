"""What would an Opik server answer? A local one that keeps what it is sent, for tests and for a look without Docker.

Example::

    with ScriptedOpik() as opik:
        settings = OpikSettings(enabled=True, local_endpoint=opik.url)
        ...                                               # write with OpikSink or the opik SDK
        assert opik.traces[trace_id]["name"] == "orchestrator"
        opik.give_feedback(trace_id, "helpful", 1.0, author="ana")   # as a person in the web page does
        opik.script_faults([faults.status(503)])          # the next request fails

``python -m src.scripted_servers.opik --port 5173`` runs it; its address is the one printed. Addresses with and
without the ``/api`` of a real installation are understood.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from src.scripted_servers.faults import Fault, FaultSource
from src.scripted_servers.http import Answer, Request, ScriptedServer, json_answer
from src.scripted_servers.opik_experiments import ExperimentStore, Refusal
from src.scripted_servers.opik_store import DEFAULT_PROJECT, BadFilter, OpikStore, Row, is_version_7, moment

MOST_ITEMS = 1000
API_USER = "api"
_BOTH = {"id", "project_name", "name", "start_time", "end_time", "input", "output", "metadata", "tags", "error_info"}
_BOTH |= {"last_updated_at", "ttft", "source", "environment"}
FIELDS = {
    "traces": _BOTH | {"thread_id"},
    "spans": _BOTH
    | {"trace_id", "parent_span_id", "type", "model", "provider", "usage"}
    | {"total_estimated_cost", "total_estimated_cost_version"},
    "scores": {
        *("id", "project_name", "project_id", "name", "category_name", "value", "reason", "source", "author"),
        "source_queue_id",
    },
}
_ROUTE = re.compile(r"(?:/api)?/v1/private/(traces|spans)(?:/(batch|feedback-scores|[0-9a-fA-F-]{36}))?")

Validate = Callable[[str, str, Any], str | None]


class Rejected(Exception):
    """The server refuses a request with this status and message."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class ScriptedOpik(ScriptedServer):
    """Opik's REST API as far as E2I uses it, with its rules: which version of a row wins, which ids it takes.

    ``strict`` refuses fields that the API does not have (the real server ignores them), so that a typing error shows.
    ``validate(method, path, body)`` may name a problem of any written body, which is answered with 400. With an
    ``api_key`` every request must carry it as ``Authorization``. ``max_body_bytes`` bounds uncompressed bodies (413).
    """

    def __init__(
        self,
        *,
        strict: bool = True,
        validate: Validate | None = None,
        api_key: str | None = None,
        max_body_bytes: int | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        faults: Iterable[Fault | None] = (),
        fault: FaultSource = None,
        port: int = 0,
    ) -> None:
        super().__init__(faults=faults, fault=fault, port=port)
        self._strict = strict
        self._validate = validate
        self._api_key = api_key
        self._max_body_bytes = max_body_bytes
        self._otlp: list[Row] = []
        self.store = OpikStore(clock)
        self.evaluations = ExperimentStore(self.store.now)

    @property
    def traces(self) -> dict[str, Row]:
        """The stored traces by id, as they were sent."""
        return dict(self.store.rows["traces"])

    @property
    def spans(self) -> dict[str, Row]:
        """The stored spans by id, as they were sent."""
        return dict(self.store.rows["spans"])

    def scores(self, identity: str, kind: str = "traces") -> dict[str, Row]:
        """The scores of a trace (or span, with ``kind`` "spans") by name, the latest author's."""
        by_name = self.store.scores[kind].get(identity, {})
        return {name: list(by_author.values())[-1] for name, by_author in by_name.items()}

    @property
    def otlp(self) -> list[Row]:
        """The OTLP/HTTP JSON documents received."""
        return list(self._otlp)

    def give_feedback(
        self,
        identity: str,
        name: str,
        value: float,
        *,
        author: str = "someone",
        reason: str | None = None,
        kind: str = "traces",
    ) -> None:
        """Score a trace (or span) as a person does in the web page."""
        given = {"id": identity, "name": name, "value": value, "source": "ui"}
        row = self.store.rows[kind].get(identity, {})
        extra = {"reason": reason, "project_name": row.get("project_name")}
        self.store.score(kind, given | {key: text for key, text in extra.items() if text}, author)

    def error_payload(self, status: int) -> Any:
        """As Opik words its errors."""
        return {"code": status, "message": super().error_payload(status)["error"]}

    def respond(self, request: Request) -> Answer:
        """Answer one request."""
        try:
            return self._routed(request)
        except Rejected as refusal:
            return json_answer({"code": refusal.status, "message": str(refusal)}, refusal.status)

    def _routed(self, request: Request) -> Answer:
        path = request.path.removeprefix("/api")
        if path == "/is-alive/ping":
            return json_answer({"message": "Healthy Server", "healthy": True})
        if path == "/is-alive/ver":
            return json_answer({"version": "scripted"})
        self._admit(request)
        if path in ("/v1/private/auth", "/v1/private/auth/workspace"):
            return json_answer({})
        if path == "/v1/private/projects":
            return self._projects(request)
        if path == "/v1/private/otel/v1/traces" and request.method == "POST":
            self._otlp.append(_json(request))
            return json_answer({})
        if path.startswith(("/v1/private/datasets", "/v1/private/experiments")):
            return self._evaluations(request, path)
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            raise Rejected(f"HTTP 404 Not Found: {path}", 404)
        return self._entities(request, route[1], route[2])

    def _admit(self, request: Request) -> None:
        if self._api_key is not None and request.headers.get("authorization") != self._api_key:
            raise Rejected("API key is missing or invalid", 401)
        if self._max_body_bytes is not None and len(request.body) > self._max_body_bytes:
            raise Rejected("the body is too large", 413)
        if self._validate is not None and request.body and "json" in request.headers.get("content-type", ""):
            problem = self._validate(request.method, request.path.removeprefix("/api"), _json(request))
            if problem:
                raise Rejected(problem)

    def _entities(self, request: Request, kind: str, rest: str | None) -> Answer:
        if request.method == "GET":
            return self._page(request, kind) if rest is None else self._one(kind, rest)
        if request.method == "POST" and rest is None:
            return self._create(kind, self._checked(_json(request), kind))
        self._write(request, kind, rest or "")
        return Answer(204)

    def _write(self, request: Request, kind: str, rest: str) -> None:
        if (request.method, rest) == ("POST", "batch"):
            for row in self._items(request, kind):
                self.store.upsert(kind, row)
        elif (request.method, rest) == ("PUT", "feedback-scores"):
            for score in self._items(request, "scores"):
                self.store.score(kind, score, score.get("author") or API_USER)
        elif request.method == "PATCH" and rest:
            body = _json(request)
            for identity in body["ids"] if rest == "batch" else [rest]:
                self.store.update(kind, identity, body["update"] if rest == "batch" else body)
        else:
            raise Rejected("HTTP 405 Method Not Allowed", 405)

    def _one(self, kind: str, identity: str) -> Answer:
        row = self.store.shown(kind, identity)
        if row is None:
            raise Rejected(f"{kind[:-1]} id: {identity} not found", 404)
        return json_answer(row)

    def _create(self, kind: str, row: Row) -> Answer:
        held = self.store.rows[kind].get(row["id"])
        if held is not None and moment(held["start_time"]).year != 1970:
            raise Rejected(f"{kind[:-1].title()} already exists", 409)
        self.store.upsert(kind, row)
        return Answer(201, {"location": f"{self.url}/v1/private/{kind}/{row['id']}"})

    def _items(self, request: Request, kind: str) -> list[Row]:
        body = _json(request)
        items = body.get(kind) if isinstance(body, dict) else None
        if not isinstance(items, list) or not 1 <= len(items) <= MOST_ITEMS:
            raise Rejected(f"{kind} size must be between 1 and {MOST_ITEMS}", 422)
        if self._strict and set(body) - {kind}:
            raise Rejected(f"unknown fields: {', '.join(sorted(set(body) - {kind}))}")
        # All are looked at before one is stored: a refused batch changes nothing.
        return [self._checked(item, kind) for item in items]

    def _checked(self, item: Any, kind: str) -> Row:
        if not isinstance(item, dict):
            raise Rejected(f"an item of {kind} is no object")
        unknown = sorted(set(item) - FIELDS[kind])
        if self._strict and unknown:
            raise Rejected(f"unknown fields of {kind}: {', '.join(unknown)}")
        for name in ("id", "trace_id"):
            if name in item and not is_version_7(item[name]):
                raise Rejected(f"{name} must be a version 7 UUID")
        for name in {"start_time", "end_time", "last_updated_at"} & set(item):
            _time(name, item[name])
        required = ("id", "name", "value", "source") if kind == "scores" else ("id", "start_time")
        missing = [name for name in required if item.get(name) is None]
        if missing:
            raise Rejected(f"{kind}: {', '.join(missing)} must not be null", 422)
        return item

    def _page(self, request: Request, kind: str) -> Answer:
        asked = {name: values[-1] for name, values in request.query.items()}
        project = asked.get("project_name") or DEFAULT_PROJECT
        if project not in self.store.projects:
            raise Rejected(f"Project name: {project} not found", 404)
        equal = {name: asked[name] for name in ("trace_id", "type") if name in asked}
        try:
            rows = self.store.found(kind, project, json.loads(asked.get("filters") or "[]"), **equal)
        except (BadFilter, ValueError) as error:
            raise Rejected(f"Invalid filters query parameter: {error}") from error
        rows = _without(rows, json.loads(asked.get("exclude") or "[]"))
        return _paged(rows, asked)

    def _evaluations(self, request: Request, path: str) -> Answer:
        asked = {name: values[-1] for name, values in request.query.items()}
        try:
            status, answer = self.evaluations.respond(
                request.method, path, _json(request) if request.body else None, asked
            )
        except Refusal as refusal:
            raise Rejected(str(refusal), refusal.status) from refusal
        except (KeyError, TypeError) as error:
            raise Rejected(f"{error} must not be null", 422) from error
        if status == 201:
            return Answer(201, {"location": f"{self.url}{path}/{answer['id']}"})
        if status == 204:
            return Answer(204)
        return _paged(answer, asked) if isinstance(answer, list) else json_answer(answer)

    def _projects(self, request: Request) -> Answer:
        if request.method == "POST":
            self.store.project(_json(request)["name"])
            return Answer(201)
        asked = {name: values[-1] for name, values in request.query.items()}
        wanted = asked.get("name", "").lower()
        return _paged([row for name, row in self.store.projects.items() if wanted in name.lower()], asked)


def _without(rows: Iterable[Row], names: Iterable[str]) -> list[Row]:
    left_out = set(names)
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def _paged(rows: list[Row], asked: Mapping[str, str]) -> Answer:
    page, size = int(asked.get("page", 1)), int(asked.get("size", 10))
    if page < 1 or size < 1:
        raise Rejected("page and size must be at least 1")
    content = rows[(page - 1) * size : page * size]
    return json_answer({"page": page, "size": len(content), "total": len(rows), "content": content, "sortableBy": []})


def _json(request: Request) -> Any:
    try:
        return request.json
    except ValueError as error:
        raise Rejected("Unable to process JSON") from error


def _time(name: str, text: Any) -> None:
    try:
        moment(text)
    except (TypeError, ValueError) as error:
        raise Rejected(f"{name} is no time with a zone") from error


def main(arguments: list[str] | None = None) -> None:
    """Run until interrupted; prints the address."""
    parser = argparse.ArgumentParser(description="A local server that speaks Opik's API and keeps what it is sent.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 takes a free one")
    with ScriptedOpik(strict=False, port=parser.parse_args(arguments).port) as server:
        sys.stdout.write(f"{server.url}/api\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
