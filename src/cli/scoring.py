"""When is an answer that was just printed scored?"""

from __future__ import annotations

import sys

from src.cli import output


def score_soon(trace_id: str) -> None:
    """Score the answer that stands on the terminal by now; what takes too long is left to e2i evaluate pending."""
    from src.app.answer_evaluation import evaluate_soon

    sys.stdout.flush()
    output.run(evaluate_soon(trace_id))
