"""Does one question in plain words get one answer whose every part can be traced?"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import pytest

from src.app import E2I
from src.domain.figures import unfounded_numbers
from src.domain.findings import FindingStatus, numbers_of, texts_of
from src.errors import GuardrailViolation
from src.storage.audit_chain import AuditChains
from src.storage.interactions import InteractionRepository
from src.storage.traces import TraceRepository
from tests.integration.answering_panel import AnsweringPanel, answering_panel

KISQALI = "Did more rep calls cause more Kisqali prescriptions in the Northeast?"


@pytest.fixture(scope="module")
def panel(
    postgres_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringPanel]:
    var = tmp_path_factory.mktemp("asking")
    with answering_panel(postgres_dsn, template_database, "asking_panel", var) as filled:
        yield filled


@pytest.fixture
async def e2i(panel: AnsweringPanel) -> AsyncIterator[E2I]:
    async with E2I.open() as opened:
        yield opened


async def test_an_effect_is_answered_with_its_interval_and_the_truth_lies_in_it(
    e2i: E2I, panel: AnsweringPanel
) -> None:
    result = await e2i.ask(KISQALI)
    (finding,) = [one for one in result.findings if one.agent == "causal_impact"]
    effect = next(one for one in finding.figures if one.name == "effect")
    assert effect.lower is not None
    assert effect.upper is not None
    assert effect.lower <= panel.effect("rep_calls", "nrx", "Kisqali", "northeast") <= effect.upper
    assert result.clarification is None
    assert result.declined is None
    assert f"run:{finding.run_id}#1" in result.citations


async def test_every_number_of_an_answer_stands_in_its_findings(e2i: E2I) -> None:
    for expertise in ("executive", "analyst", "data_scientist"):
        result = await e2i.ask(KISQALI, expertise=expertise)
        assert result.answer
        assert unfounded_numbers(result.answer, numbers_of(result.findings), texts_of(result.findings)) == ()


async def test_a_question_may_lean_on_the_one_before_it(e2i: E2I) -> None:
    first = await e2i.ask(KISQALI)
    second = await e2i.ask("and in the South?", session_id=first.session_id)
    assert second.classification is not None
    (part,) = second.classification.parts
    assert part.understood is not None
    assert (part.understood.region, part.understood.brand) == ("south", "Kisqali")
    alone = await e2i.ask("and in the South?")
    assert alone.findings == ()


async def test_one_trace_and_one_kept_answer_a_question(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    trace_id = result.meta.trace_id
    assert await e2i.session.tracer.flush()
    trace = await TraceRepository(e2i.session.database).trace(trace_id)
    spans = [{**span.__dict__} if hasattr(span, "__dict__") else span for span in trace.spans]
    assert spans
    kept = await InteractionRepository(e2i.session.database).find(trace_id)
    assert (kept.query, kept.answer, kept.session_id) == (KISQALI, result.answer, result.session_id)
    assert kept.run_id == next(one.run_id for one in result.findings if one.run_id)
    assert kept.agents[0] == "orchestrator"


async def test_the_nodes_of_an_answer_are_a_chain_that_holds(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    verdict = await AuditChains(e2i.session.database).verify(result.meta.trace_id)
    assert verdict.intact
    assert verdict.entries >= 6


async def test_what_is_asked_about_persons_is_declined_and_counted_with_its_rule(e2i: E2I) -> None:
    result = await e2i.ask("List the doctors in the Northeast with their NPI numbers")
    assert result.declined
    assert result.findings == ()
    row = await e2i.session.database.fetchrow(
        "SELECT status, rule FROM conversation_questions WHERE trace_id = %s", (result.meta.trace_id,)
    )
    assert row == {"status": "declined", "rule": "individuals"}


async def test_an_unclear_question_is_asked_back(e2i: E2I) -> None:
    result = await e2i.ask("What is the effect of rep calls for Kisqali?")
    assert result.clarification
    assert result.options


async def test_a_session_that_asked_too_much_is_refused_before_anything_is_done(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await e2i.ask(KISQALI)
    await e2i.session.database.execute(
        "UPDATE conversations SET tokens = 1000000000 WHERE session_id = %s", (first.session_id,)
    )
    with pytest.raises(GuardrailViolation, match="tokens"):
        await e2i.ask(KISQALI, session_id=first.session_id)


@pytest.mark.parametrize("wrong", [{"expertise": "everybody"}, {"role": "nobody"}])
async def test_an_unknown_reader_or_role_is_refused(e2i: E2I, wrong: dict[str, str]) -> None:
    with pytest.raises(Exception, match="there is no"):
        await e2i.ask(KISQALI, **wrong)


async def test_two_sessions_at_once_keep_their_own_turns(e2i: E2I) -> None:
    import asyncio

    first, second = await asyncio.gather(
        e2i.ask(KISQALI), e2i.ask("Did samples change total prescriptions of Remibrutinib in the West?")
    )
    again = await asyncio.gather(
        *(e2i.ask("and in the Midwest?", session_id=one.session_id) for one in (first, second))
    )
    read = [one.classification.parts[0].understood for one in again if one.classification]
    assert [(one.brand, one.outcome) for one in read if one] == [("Kisqali", "nrx"), ("Remibrutinib", "trx")]


async def test_gaps_are_computed_by_tools(e2i: E2I) -> None:
    result = await e2i.ask("Where are our biggest gaps to target for Kisqali?")
    (finding,) = result.findings
    assert (finding.agent, finding.status) == ("tool_composer", FindingStatus.COMPLETED)
    assert finding.figures
    UUID(finding.evidence[0].id.removeprefix("step:").split("/")[0])


async def test_the_health_of_the_platform_comes_from_its_spans(e2i: E2I) -> None:
    await e2i.ask(KISQALI)
    assert await e2i.session.tracer.flush()
    result = await e2i.ask("Is the platform healthy?")
    (finding,) = result.findings
    assert finding.agent == "observability_connector"
    assert finding.figures[0].value > 0
