"""The Python API: ask in plain words, estimate an effect, look at data, runs and reports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from src.agents.orchestrator.agent import QueryResult
from src.agents.orchestrator.state import QueryRequest
from src.app.effects import Answer, answer_effect, load_answer
from src.app.orchestration import Assistant, open_assistant
from src.app.questions import EffectQuestion, check_columns
from src.app.report import ReportFormat, render_report
from src.app.session import Session, open_session
from src.errors import ContractViolation, RunNotFound
from src.mlops.tracing.ids import uuid7
from src.storage.conversations import Conversation
from src.storage.records import DatasetRecord, RunRecord

Progress = Callable[[str], None]
FORMATS = ("html", "md", "json")


@dataclass(frozen=True)
class E2I:
    """An open E2I. ``async with E2I.open() as e2i: result = await e2i.ask("…")``."""

    session: Session
    assistant: Assistant

    @classmethod
    @asynccontextmanager
    async def open(cls, on_progress: Progress = lambda _: None) -> AsyncIterator[E2I]:
        """On the configured database, migrated. Raises DatabaseUnavailable or MigrationError."""
        async with open_session(on_progress) as session, open_assistant(session) as assistant:
            yield cls(session, assistant)

    async def ask(
        self,
        question: str,
        *,
        session_id: str | None = None,
        expertise: str = "analyst",
        role: str = "analyst",
        output_format: str = "narrative",
        brand: str | None = None,
        region: str | None = None,
        dataset: str = "hcp_month_panel",
        on_progress: Progress | None = None,
    ) -> QueryResult:
        """Answer a question in plain words; with ``session_id`` it may refer to the ones before ("and in the South?").

        The result is an answer, a question back (``clarification``) or says why there is none (``declined``).
        Raises ContractViolation for an unknown reader, role or format, QuestionNotUnderstood for what is no question,
        GuardrailViolation for a session over its limits.
        """
        request = QueryRequest(
            query=question,
            session_id=session_id or str(uuid7()),
            user_expertise=expertise,
            brand=brand,
            region=region,
            role=role,
            dataset=dataset,
            output_format=output_format,
        )
        return await self.assistant.ask(request, on_progress=on_progress)

    async def effect(self, question: EffectQuestion, *, role: str = "analyst") -> Answer:
        """Estimate one causal effect, with its checks.

        Raises GuardrailViolation where it names a column that ``role`` is not shown, ConfigError for an unknown role.
        """
        check_columns(question, self.assistant.guards, role)
        return await answer_effect(self.session, question)

    async def datasets(self) -> Sequence[DatasetRecord]:
        """The datasets of the catalogue."""
        return await self.session.catalogue.list()

    async def runs(self, limit: int = 20) -> Sequence[RunRecord]:
        """Analyses, newest first."""
        return await self.session.runs.recent(limit)

    async def run(self, run_id: str) -> Answer:
        """One analysis by its id or its beginning. Raises RunNotFound."""
        return await load_answer(self.session, run_id)

    async def sessions(self, limit: int = 20) -> Sequence[Conversation]:
        """Conversations, the one used last first."""
        return await self.assistant.conversations.recent(limit)

    async def session_named(self, start: str) -> str:
        """The id of the conversation that begins so. Raises RunNotFound."""
        return await self.assistant.conversations.named(start)

    async def report(self, run_id: str, format: str = "md") -> str:
        """The report of an analysis as one text: html, md or json. Raises RunNotFound, ContractViolation."""
        if format not in FORMATS:
            raise ContractViolation(f"unknown report format '{format[:40]}'; use {', '.join(FORMATS)}")
        answer = await load_answer(self.session, run_id)
        if answer.analysis is None:
            raise RunNotFound(f"run {answer.run.run_id} is {answer.run.status} and has no result to report")
        return render_report(answer.run, answer.dataset, answer.analysis, format=cast(ReportFormat, format))
