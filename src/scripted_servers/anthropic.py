"""How does a test talk to Anthropic's Messages API without Anthropic? The wire format with scripted replies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from src.scripted_servers.http import Answer, Request, ScriptedServer, json_answer
from src.scripted_servers.replies import Prompt, Replies, Reply, Script, count_tokens, pieces, text_of

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
# The real service refuses fields it does not know; these are the ones the installed SDK can send.
_KNOWN_FIELDS = {
    *("model", "max_tokens", "messages", "system", "stream", "tools", "tool_choice", "stop_sequences", "metadata"),
    *("output_config", "thinking", "speed", "service_tier", "cache_control", "container", "inference_geo"),
    *("diagnostics",),
}
_STOP = {"cut_off": "max_tokens", "refused": "refusal"}


class ScriptedAnthropic(ScriptedServer):
    """Speaks ``/v1/messages`` (also streaming) and ``/v1/messages/count_tokens``.

    Example::

        with ScriptedAnthropic({"capital of France": "Paris", "": Reply.json({"verdict": "yes"})}) as server:
            client = anthropic.AsyncAnthropic(api_key="any", base_url=server.base_url)
    """

    def __init__(self, script: Script = "ok", *, knows_output_config: bool = True, **server: Any) -> None:
        super().__init__(**server)
        self.replies = Replies(script)
        self._knows_output_config = knows_output_config
        self._numbers = itertools.count(1)

    @property
    def base_url(self) -> str:
        """What the SDK takes as ``base_url``."""
        return self.url

    def error_payload(self, status: int) -> Any:
        """Anthropic's error object."""
        kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return _error(kind, f"scripted {kind}")

    def respond(self, request: Request) -> Answer:
        """Answer as the service would: checks of the request first."""
        if "x-api-key" not in request.headers and "authorization" not in request.headers:
            return json_answer(_error("authentication_error", "x-api-key header is required"), 401)
        if request.path == "/v1/messages/count_tokens":
            return json_answer({"input_tokens": count_tokens(read_prompt(request.json).text)})
        if request.path != "/v1/messages":
            return json_answer(_error("not_found_error", f"{request.path} is not served"), 404)
        if (problem := self._problem(request)) is not None:
            return json_answer(_error("invalid_request_error", problem), 400)
        return self._reply(request.json)

    def _problem(self, request: Request) -> str | None:
        if "anthropic-version" not in request.headers:
            return "anthropic-version: header is required"
        for name in ("model", "max_tokens", "messages"):
            if not request.json.get(name):
                return f"{name}: Field required"
        known = _KNOWN_FIELDS if self._knows_output_config else _KNOWN_FIELDS - {"output_config"}
        unknown = sorted(set(request.json) - known)
        if unknown:
            return f"{unknown[0]}: Extra inputs are not permitted"
        if any(not message["content"] for message in request.json["messages"]):
            return "messages: all messages must have non-empty content"
        return None

    def _reply(self, body: dict[str, Any]) -> Answer:
        prompt = read_prompt(body)
        reply = self.replies.reply_to(prompt)
        message = _message(prompt, reply, f"msg_{next(self._numbers):06d}")
        if not body.get("stream"):
            return json_answer(message, headers={"request-id": f"req_{message['id']}"})
        return Answer(200, {"content-type": "text/event-stream"}, _events(message, reply.stream_error))


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The prompt in the body of a Messages request."""
    output_format = (body.get("output_config") or {}).get("format") or {}
    return Prompt(
        model=body.get("model", ""),
        system=text_of(body.get("system")),
        turns=tuple((turn["role"], text_of(turn["content"])) for turn in body.get("messages", [])),
        schema=output_format.get("schema"),
        tools=tuple(tool["name"] for tool in body.get("tools") or ()),
        body=body,
    )


def _message(prompt: Prompt, reply: Reply, number: str) -> dict[str, Any]:
    uses = [{"type": "tool_use", "id": use.id, "name": use.name, "input": use.arguments} for use in reply.tool_uses]
    content = [*([{"type": "text", "text": reply.text}] if reply.text else []), *uses]
    stop = _STOP.get(reply.end, "tool_use" if uses else "end_turn")
    written = reply.text + json.dumps([use.arguments for use in reply.tool_uses])
    return {
        "id": number,
        "type": "message",
        "role": "assistant",
        "model": reply.model or prompt.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            "input_tokens": count_tokens(prompt.text) if reply.input_tokens is None else reply.input_tokens,
            "output_tokens": count_tokens(written) if reply.output_tokens is None else reply.output_tokens,
            "cache_read_input_tokens": reply.cache_read_tokens,
            "cache_creation_input_tokens": reply.cache_write_tokens,
        },
    }


def _events(message: dict[str, Any], stream_error: str | None) -> Iterator[bytes]:
    started = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield _event("message_start", message=started)
    yield _event("ping")
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    if stream_error is not None:
        yield _event("error", error={"type": stream_error, "message": f"scripted {stream_error}"})
        return
    delta = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": message["usage"]["output_tokens"]})
    yield _event("message_stop")


def _block_events(index: int, block: dict[str, Any]) -> Iterator[bytes]:
    if block["type"] == "text":
        empty, deltas = {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in pieces(block["text"])]
    else:
        parts = pieces(json.dumps(block["input"]))
        empty, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    yield _event("content_block_start", index=index, content_block=empty)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}
