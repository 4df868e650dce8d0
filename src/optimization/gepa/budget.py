"""What may one run use, and what has it used, over all its attempts?"""

from __future__ import annotations

from collections.abc import Callable

from src.errors import BudgetExhausted
from src.llm.budget import Budget, Spending


class RunBudget(Budget):
    """A budget that remembers what earlier attempts of the same run used, and that it once said no.

    Components and judges may go on without a model when a call is refused; ``refused`` tells the run that what they
    then gave was not the model's. ``priced`` is False once a call was made whose price is not known.
    """

    def __init__(
        self, max_tokens: int | None = None, max_dollars: float | None = None, *, already: Spending | None = None
    ) -> None:
        super().__init__(max_tokens, max_dollars)
        self.calls = 0
        self.refused: str | None = None
        self.priced = True
        self.on_change: Callable[[], None] = lambda: None
        """Called when something was set aside and when it is known what was used of it."""
        if already is not None:
            super().settle(Spending(0, 0.0), already)

    async def reserve(self, tokens: int, dollars: float | None, *, model: str) -> Spending:
        """See ``Budget.reserve``."""
        self.priced = self.priced and dollars is not None
        try:
            reserved = await super().reserve(tokens, dollars, model=model)
        except BudgetExhausted as error:
            self.refused = str(error)
            raise
        self.on_change()
        return reserved

    def settle(self, reserved: Spending, used: Spending) -> None:
        """See ``Budget.settle``."""
        self.calls += 1
        super().settle(reserved, used)
        self.on_change()

    @property
    def committed(self) -> Spending:
        """What was used, and the most that calls under way can still use: after a kill nobody knows what they did."""
        spent, reserved = self.spent, self.reserved
        return Spending(spent.tokens + reserved.tokens, spent.dollars + reserved.dollars)
