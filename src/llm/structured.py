"""Does a reply match the schema it was asked for, and how is a wrong one asked for again?"""

from __future__ import annotations

import json
import re
from dataclasses import replace

from pydantic import BaseModel, ValidationError

from src.llm.client import LLMReply, LLMRequest, Message

_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


class NotTheSchema(Exception):
    """A reply does not match. ``for_model`` may quote the reply, ``for_people`` does not."""

    def __init__(self, for_model: str, for_people: str) -> None:
        self.for_model = for_model
        self.for_people = for_people
        super().__init__(for_people)


def parse_reply(reply: LLMReply, schema: type[BaseModel]) -> BaseModel:
    """The reply's text as ``schema``; a code fence around the JSON is tolerated. Raises NotTheSchema."""
    fenced = _FENCED.search(reply.text)
    text = fenced.group(1) if fenced and not reply.text.lstrip().startswith("{") else reply.text
    try:
        return schema.model_validate_json(text.strip())
    except ValidationError as error:
        if reply.stop_reason == "max_tokens":
            cut_off = "the reply was cut off at the limit of tokens"
            raise NotTheSchema(f"{cut_off}: answer more briefly", cut_off) from None
        raise NotTheSchema(_for_model(error), _for_people(error, schema)) from None


def repair_request(request: LLMRequest, reply: LLMReply, problem: NotTheSchema) -> LLMRequest:
    """The same request with the model's own reply and what is wrong with it."""
    again = (
        f"That reply does not satisfy the requested JSON schema:\n{problem.for_model}\n"
        "Answer again with the corrected JSON object and nothing else."
    )
    own = Message("assistant", reply.text.strip() or "(an empty reply)")
    return replace(request, messages=(*request.messages, own, Message("user", again)), repair=True)


def with_schema_in_prompt(request: LLMRequest) -> LLMRequest:
    """For servers that do not enforce a schema: say it in the system prompt."""
    if request.schema is None:
        return request
    schema = json.dumps(request.schema.model_json_schema(), sort_keys=True)
    wanted = f"Answer with one JSON object that satisfies this JSON schema, and nothing else:\n{schema}"
    return replace(request, system=f"{request.system}\n\n{wanted}" if request.system else wanted)


def _for_model(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_context=False)
    return "\n".join(
        f"- {'.'.join(map(str, item['loc'])) or 'the whole reply'}: {item['msg']}" for item in details[:10]
    )


def _for_people(error: ValidationError, schema: type[BaseModel]) -> str:
    """Field names of the schema and kinds of error only: values and made-up keys are the model's text."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    found = []
    for item in details[:3]:
        place = item["loc"][0] if item["loc"] and item["loc"][0] in schema.model_fields else "reply"
        found.append(f"{place}: {item['type']}")
    return ", ".join(found) + (f" and {len(details) - 3} more" if len(details) > 3 else "")
