"""How does a test talk to an OpenAI-compatible API without one? The wire format with scripted replies."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterator
from typing import Any

from src.scripted_servers.http import Answer, Request, ScriptedServer, json_answer
from src.scripted_servers.replies import Prompt, Replies, Reply, Script, count_tokens, pieces, text_of

_FINISH = {"cut_off": "length"}
_CREATED = 1_790_000_000


class ScriptedOpenAI(ScriptedServer):
    """Speaks ``/v1/chat/completions`` (also streaming) and ``/v1/embeddings``.

    Example::

        with ScriptedOpenAI(["first reply", Reply("second", input_tokens=12)]) as server:
            client = openai.AsyncOpenAI(api_key="any", base_url=server.base_url)
    """

    def __init__(
        self, script: Script = "ok", *, embedding_size: int = 16, reports_usage: bool = True, **server: Any
    ) -> None:
        super().__init__(**server)
        self.replies = Replies(script)
        self._embedding_size = embedding_size
        self._reports_usage = reports_usage
        self._numbers = itertools.count(1)

    @property
    def base_url(self) -> str:
        """What the SDK takes as ``base_url``."""
        return f"{self.url}/v1"

    def error_payload(self, status: int) -> Any:
        """OpenAI's error object."""
        return _error(f"scripted status {status}", code="scripted")

    def respond(self, request: Request) -> Answer:
        """Answer as the service would: checks of the request first."""
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return json_answer(_error("You didn't provide an API key.", code="invalid_api_key"), 401)
        if request.path == "/v1/embeddings":
            return self._embed(request.json)
        if request.path != "/v1/chat/completions":
            return json_answer(_error(f"Invalid URL ({request.method} {request.path})"), 404)
        for name in ("model", "messages"):
            if not request.json.get(name):
                return json_answer(_error(f"Missing required parameter: '{name}'."), 400)
        return self._complete(request.json)

    def _complete(self, body: dict[str, Any]) -> Answer:
        prompt = read_prompt(body)
        reply = self.replies.reply_to(prompt)
        head = {"id": f"chatcmpl-{next(self._numbers):06d}", "created": _CREATED, "model": reply.model or prompt.model}
        usage = _usage(prompt, reply) if self._reports_usage else None
        if body.get("stream"):
            asked = (body.get("stream_options") or {}).get("include_usage")
            return Answer(200, {"content-type": "text/event-stream"}, _chunks(head, reply, usage if asked else None))
        choice = {"index": 0, "message": _message(reply), "finish_reason": _finish(reply), "logprobs": None}
        return json_answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _embed(self, body: dict[str, Any]) -> Answer:
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        size = body.get("dimensions") or self._embedding_size
        packed = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
            for index, vector in enumerate(embedding(str(text), size) for text in texts)
        ]
        tokens = sum(count_tokens(str(text)) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_answer({"object": "list", "data": data, "model": body["model"], "usage": usage})


def read_prompt(body: dict[str, Any]) -> Prompt:
    """The prompt in the body of a chat-completions request."""
    messages = body.get("messages", [])
    of_system = [text_of(turn["content"]) for turn in messages if turn["role"] in ("system", "developer")]
    turns = [
        (turn["role"], text_of(turn["content"])) for turn in messages if turn["role"] not in ("system", "developer")
    ]
    response_format = body.get("response_format") or {}
    return Prompt(
        model=body.get("model", ""),
        system="\n".join(of_system),
        turns=tuple(turns),
        schema=(response_format.get("json_schema") or {}).get("schema"),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
        body=body,
    )


def embedding(text: str, size: int) -> list[float]:
    """A unit vector that depends on nothing but the text; equal texts are equal, others about orthogonal."""
    digest = hashlib.shake_256(text.encode()).digest(4 * size)
    values = [number / 2**31 for number in struct.unpack(f"<{size}i", digest)]
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _usage(prompt: Prompt, reply: Reply) -> dict[str, Any]:
    """Here cached tokens are part of ``prompt_tokens``."""
    uncached = count_tokens(prompt.text) if reply.input_tokens is None else reply.input_tokens
    written = reply.text + json.dumps([use.arguments for use in reply.tool_uses])
    output = count_tokens(written) if reply.output_tokens is None else reply.output_tokens
    total = uncached + reply.cache_read_tokens + reply.cache_write_tokens
    return {
        "prompt_tokens": total,
        "completion_tokens": output,
        "total_tokens": total + output,
        "prompt_tokens_details": {
            "cached_tokens": reply.cache_read_tokens,
            "cache_write_tokens": reply.cache_write_tokens,
        },
    }


def _message(reply: Reply) -> dict[str, Any]:
    refused = reply.end == "refused"
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused or (reply.tool_uses and not reply.text) else reply.text,
        "refusal": (reply.text or "I cannot help with that.") if refused else None,
    }
    if reply.tool_uses:
        message["tool_calls"] = _tool_calls(reply)
    return message


def _tool_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.arguments)}}
        for use in reply.tool_uses
    ]


def _finish(reply: Reply) -> str:
    return _FINISH.get(reply.end, "tool_calls" if reply.tool_uses else "stop")


def _chunks(head: dict[str, Any], reply: Reply, usage: dict[str, Any] | None) -> Iterator[bytes]:
    message = _message(reply)
    yield _chunk(head, {"role": "assistant", "content": ""})
    for part in pieces(message["content"] or ""):
        yield _chunk(head, {"content": part})
    if reply.stream_error is not None:
        yield _data(_error("scripted", code=reply.stream_error))
        return
    for part in pieces(message["refusal"] or ""):
        yield _chunk(head, {"refusal": part})
    for index, call in enumerate(message.get("tool_calls", [])):
        yield from _tool_chunks(head, index, call)
    yield _chunk(head, {}, finish=_finish(reply))
    if usage is not None:
        yield _data({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _tool_chunks(head: dict[str, Any], index: int, call: dict[str, Any]) -> Iterator[bytes]:
    opened = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
    yield _chunk(head, {"tool_calls": [opened]})
    for part in pieces(call["function"]["arguments"]):
        yield _chunk(head, {"tool_calls": [{"index": index, "function": {"arguments": part}}]})


def _chunk(head: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({**head, "object": "chat.completion.chunk", "choices": [choice]})


def _data(payload: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(payload)}\n\n".encode()


def _error(message: str, *, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
