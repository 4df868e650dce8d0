"""What did a model call cost? A dated price table; an unknown model has no cost, never 0."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field

from src.settings import ConfigModel

PER_TOKENS = 1_000_000

Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _names(value: object) -> object:
    """Text between commas as names: the form in which an environment variable gives them."""
    return tuple(filter(None, map(str.strip, (value or "").split(",")))) if isinstance(value, str | None) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


class ModelPrice(ConfigModel):
    """US dollars per million tokens, for prompts up to ``max_prompt_tokens``; cached input falls back to input."""

    input: Dollars
    output: Dollars
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    max_prompt_tokens: int | None = Field(default=None, gt=0)


FREE = ModelPrice(input=0.0, output=0.0)


class PriceTable(ConfigModel):
    """Prices as published on ``as_of``, by model name; ``own`` names models that run on machines of one's own."""

    as_of: date
    models: dict[str, ModelPrice]
    own: Names = ()

    def price(self, model: str) -> ModelPrice | None:
        """The listed price; nothing for a model of one's own; None for an unknown one."""
        return self.models.get(model) or (FREE if model in self.own else None)

    def cost(
        self,
        model: str,
        input_tokens: int,
        output_tokens: int,
        *,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
    ) -> float | None:
        """US dollars of one call; cache tokens are counted beside ``input_tokens``, not in it.

        None for an unknown model, or a prompt beyond the band its price holds for.
        """
        price = self.price(model)
        if price is None:
            return None
        prompt = input_tokens + cache_read_tokens + cache_write_tokens
        if price.max_prompt_tokens is not None and prompt > price.max_prompt_tokens:
            return None
        read = price.input if price.cache_read is None else price.cache_read
        write = price.input if price.cache_write is None else price.cache_write
        dollars = input_tokens * price.input + output_tokens * price.output
        return (dollars + cache_read_tokens * read + cache_write_tokens * write) / PER_TOKENS
