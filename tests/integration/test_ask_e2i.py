"""Does one question in plain words get one answer whose every part can be traced?"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import psycopg
import pytest

import src.app.orchestration
from src.agents.orchestrator.agent import QueryResult
from src.agents.orchestrator.state import ContextChunk, QueryRequest
from src.agents.runtime import Filter
from src.app import E2I
from src.app.interactions import of_query
from src.app.questions import EffectQuestion
from src.domain.figures import unfounded_numbers
from src.domain.findings import FindingStatus, known_of, texts_of
from src.domain.guards import RoleRules
from src.errors import ConfigError, ContractViolation, DatabaseUnavailable, E2IError, GuardrailViolation
from src.mlops.tracing.ids import uuid7
from src.storage.audit_chain import AuditChains
from src.storage.conversations import ConversationRepository
from src.storage.gateway import Op
from src.storage.interactions import InteractionRepository
from src.storage.traces import TraceRepository
from tests.integration.answering_panel import AnsweringPanel, answering_panel

PANEL = "hcp_month_panel"
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
        assert unfounded_numbers(result.answer, known_of(result.findings), texts_of(result.findings)) == ()


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
    assert {span.trace_id for span in trace.spans} == {trace_id}
    assert {span.agent_name for span in trace.spans} >= {"orchestrator", "causal_impact", "explainer"}
    roots = [span for span in trace.spans if span.parent_span_id is None]
    assert [(one.agent_name, one.operation_type) for one in roots] == [
        ("orchestrator", "run"),
        ("orchestrator", "answer"),
    ]
    kept = await InteractionRepository(e2i.session.database).find(trace_id)
    assert (kept.query, kept.answer, kept.session_id) == (KISQALI, result.answer, result.session_id)
    assert kept.run_id == next(one.run_id for one in result.findings if one.run_id)
    assert kept.agents[0] == "orchestrator"


async def test_the_nodes_of_an_answer_are_a_chain_that_holds(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    verdict = await AuditChains(e2i.session.database).verify(result.meta.trace_id)
    assert verdict.intact
    assert verdict.entries >= 6


async def test_an_interrupted_question_is_finished_once_although_another_was_asked_meanwhile(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    session = str(uuid7())
    with monkeypatch.context() as broken:
        broken.setattr(ConversationRepository, "end", lost)
        with pytest.raises(DatabaseUnavailable):
            await e2i.ask(KISQALI, session_id=session)
    await e2i.ask("Where are our biggest gaps to target for Fabhalta?", session_id=session)
    runs = await e2i.runs(200)
    waiting = [one for one in await e2i.assistant.conversations.unfinished() if one.session_id == session]
    (result,) = await e2i.assistant.resume(waiting)
    assert (result.meta.trace_id, await e2i.runs(200)) == (waiting[0].trace_id, runs)
    kept = await InteractionRepository(e2i.session.database).find(waiting[0].trace_id)
    assert (kept.query, kept.answer) == (KISQALI, result.answer)
    statuses = "SELECT status FROM conversation_questions WHERE session_id = %s"
    assert await e2i.session.database.fetch(statuses, (session,)) == [{"status": "answered"}] * 2


async def test_a_question_interrupted_half_way_keeps_its_place_before_one_asked_meanwhile(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    first = await e2i.ask(KISQALI)
    with monkeypatch.context() as broken:
        broken.setattr(src.app.orchestration.ExplainerWriter, "write", lost)
        with pytest.raises(DatabaseUnavailable):
            await e2i.ask("and in the South?", session_id=first.session_id)
    await e2i.ask("Did samples change total prescriptions of Remibrutinib in the West?", session_id=first.session_id)
    waiting = [one for one in await e2i.assistant.conversations.unfinished() if one.session_id == first.session_id]
    (result,) = await e2i.assistant.resume(waiting)
    assert [_read(one) for one in (result, await e2i.ask("and in the Midwest?", session_id=first.session_id))] == [
        ("Kisqali", "nrx", "south"),
        ("Remibrutinib", "trx", "midwest"),
    ]


def _read(result: QueryResult) -> tuple[str | None, str | None, str | None]:
    """Brand, outcome and region that a question was read as."""
    assert result.classification is not None
    understood = result.classification.parts[0].understood
    assert understood is not None
    return (understood.brand, understood.outcome, understood.region)


async def test_the_explainer_and_the_answer_itself_stand_in_the_chain_of_the_question(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    chains, database = AuditChains(e2i.session.database), e2i.session.database
    nodes = [(one.agent, one.node) for one in await chains.entries(result.meta.trace_id)]
    assert ("explainer", "generate") in nodes
    assert nodes[-1] == ("orchestrator", "answer")
    assert await e2i.session.tracer.flush()
    verdict = await chains.verify(result.meta.trace_id)
    assert (verdict.intact, verdict.witnesses) == (True, verdict.entries)
    await database.execute(
        "UPDATE rag_interactions SET answer = answer || ' Doubled.' WHERE trace_id = %s", (result.meta.trace_id,)
    )
    forged = await chains.verify(result.meta.trace_id)
    assert (forged.intact, forged.broken_at) == (False, len(nodes) - 1)
    assert forged.problem.startswith("the answer or the question that is stored")


async def test_an_answer_that_could_not_be_stored_says_so(e2i: E2I, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise psycopg.errors.DiskFull("no space left")

    monkeypatch.setattr(InteractionRepository, "add", full)
    result = await e2i.ask(KISQALI)
    assert result.answer
    assert src.app.orchestration.NOT_KEPT in result.meta.degraded


async def test_what_was_retrieved_is_kept_with_its_scores_and_evidence_without_any(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    passage = ContextChunk("plan-1", 0.42, "Plan", "Rep calls are planned by decile.")
    contexts = of_query(dataclasses.replace(result, contexts=(passage,)), QueryRequest(KISQALI, "s")).contexts
    scores = {one["chunk_id"]: one["score"] for one in contexts}
    assert scores.pop("plan-1") == 0.42
    assert scores
    assert set(scores.values()) == {None}


@pytest.mark.parametrize(
    ("named", "said"),
    [({"brand": "Kisqualy"}, "no brand 'Kisqualy'; did you mean 'Kisqali'"), ({"region": "moon"}, "no region 'moon'")],
)
async def test_a_brand_or_region_that_does_not_exist_is_refused(e2i: E2I, named: dict[str, str], said: str) -> None:
    with pytest.raises(ContractViolation, match=said):
        await e2i.ask(KISQALI, **named)


async def test_a_brand_may_be_named_beside_the_question(e2i: E2I) -> None:
    result = await e2i.ask("Did more rep calls cause more new prescriptions in the West?", brand="kisqali")
    (finding,) = [one for one in result.findings if one.agent == "causal_impact"]
    run = await e2i.run(str(finding.run_id))
    assert run.run.understood["brand"] == "Kisqali"


@pytest.mark.parametrize(
    ("priced", "of_run", "expected"), [(True, None, 2.5), (True, 1.0, 1.0), (False, None, None), (False, 1.0, 1.0)]
)
async def test_a_question_may_spend_what_its_session_has_left_where_prices_are_known(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch, priced: bool, of_run: float | None, expected: float | None
) -> None:
    models = next(iter(e2i.session.tracer.config.prices.models)) if priced else "unheard-of"
    monkeypatch.setattr(src.app.orchestration, "_models", lambda _: (models,))
    assert e2i.assistant._dollars(of_run, 2.5) == expected


async def test_what_is_asked_about_persons_is_declined_and_counted_with_its_rule(e2i: E2I) -> None:
    result = await e2i.ask("List the doctors in the Northeast with their NPI numbers")
    assert result.declined
    assert result.findings == ()
    row = await e2i.session.database.fetchrow(
        "SELECT status, rule FROM conversation_questions WHERE trace_id = %s", (result.meta.trace_id,)
    )
    assert row == {"status": "declined", "rule": "individuals"}


@pytest.mark.parametrize(
    ("wrong", "role", "column"),
    [
        (EffectQuestion(dataset="table:hcp_profiles", treatment="npi", outcome="decile"), "analyst", "npi"),
        (EffectQuestion(dataset="table:hcp_profiles", treatment="decile", outcome="hcp_id"), "analyst", "hcp_id"),
        (
            EffectQuestion(dataset=PANEL, treatment="rep_calls", outcome="trx", confounders=("decile",)),
            "field",
            "decile",
        ),
        (
            EffectQuestion(
                dataset=PANEL, treatment="rep_calls", outcome="trx", filters=(Filter("hcp_id", Op.EQ, "HCP000123"),)
            ),
            "data_scientist",
            "hcp_id",
        ),
        (EffectQuestion(dataset=PANEL, treatment="rep_calls", outcome="trx", cluster="npi"), "analyst", "npi"),
    ],
)
async def test_an_effect_of_columns_that_a_role_is_not_shown_is_refused_before_anything_is_read(
    e2i: E2I, wrong: EffectQuestion, role: str, column: str
) -> None:
    before = await e2i.runs(200)
    with pytest.raises(GuardrailViolation, match=f"^'{column}' may not be shown to your role"):
        await e2i.effect(wrong, role=role)
    assert await e2i.runs(200) == before


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
    refused = await e2i.session.database.fetch(
        "SELECT status, rule, request FROM conversation_questions WHERE session_id = %s ORDER BY asked_at DESC LIMIT 1",
        (first.session_id,),
    )
    assert refused == [{"status": "refused", "rule": "tokens_per_session", "request": None}]


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"expertise": "everybody"}, ContractViolation, "there is no reader 'everybody'; use executive"),
        ({"output_format": "poem"}, ContractViolation, "there is no form of an answer 'poem'; use narrative"),
        ({"role": "nobody"}, ConfigError, "there is no role 'nobody'"),
        ({"session_id": "my-session"}, ContractViolation, "'my-session' is no id of a session"),
    ],
)
async def test_an_unknown_reader_form_role_or_session_is_refused_before_anything_is_kept(
    e2i: E2I, wrong: dict[str, str], error: type[E2IError], said: str
) -> None:
    count = "SELECT count(*) AS asked FROM conversation_questions"
    before = await e2i.session.database.fetchrow(count)
    with pytest.raises(error, match=said):
        await e2i.ask(KISQALI, **wrong)
    assert await e2i.session.database.fetchrow(count) == before


async def test_a_stored_request_that_is_none_any_more_is_given_up_and_the_others_are_finished(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the server closed the connection")

    broken_one, whole = str(uuid7()), str(uuid7())
    with monkeypatch.context() as broken:
        broken.setattr(src.app.orchestration.ExplainerWriter, "write", lost)
        for session in (broken_one, whole):
            with pytest.raises(DatabaseUnavailable):
                await e2i.ask(KISQALI, session_id=session)
    await e2i.session.database.execute(
        'UPDATE conversation_questions SET request = request || \'{"region": "the moon"}\' WHERE session_id = %s',
        (broken_one,),
    )
    told: list[str] = []
    mine = [one for one in await e2i.assistant.conversations.unfinished() if one.session_id in (broken_one, whole)]
    (result,) = await e2i.assistant.resume(mine, on_progress=told.append)
    assert result.session_id == whole
    assert any("cannot be resumed and was given up: there is no region 'the moon'" in one for one in told)
    statuses = "SELECT status FROM conversation_questions WHERE session_id = %s"
    assert await e2i.session.database.fetch(statuses, (broken_one,)) == [{"status": "failed"}]


async def test_an_answer_cites_what_it_rests_on_and_nothing_else(e2i: E2I) -> None:
    result = await e2i.ask(KISQALI)
    told = {one for found in result.findings for statement in found.statements for one in statement.evidence}
    counted = {figure.evidence for found in result.findings for figure in found.figures}
    assert set(result.citations) == told | counted


async def test_a_question_that_selects_by_a_hidden_column_is_refused_for_that_role(
    e2i: E2I, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = e2i.assistant.guards
    hidden = guards.model_copy(update={"roles": {**guards.roles, "analyst": RoleRules(hidden=frozenset({"region"}))}})
    monkeypatch.setattr(e2i.assistant, "guards", hidden)
    before = await e2i.runs(200)
    result = await e2i.ask(KISQALI)
    assert "'region' may not be shown to your role" in result.answer
    assert [one.agent for one in result.findings if one.answered] == []
    assert await e2i.runs(200) == before


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


@pytest.mark.parametrize("verb", ["fall", "grow"])
async def test_what_a_question_takes_for_granted_is_looked_up_in_the_data(e2i: E2I, verb: str) -> None:
    result = await e2i.ask(f"Why did Kisqali TRx {verb} in the Midwest?", expertise="executive")
    told = [one for one in result.findings if one.answered]
    assert told
    changes = {next(one for one in found.figures if one.name.startswith("change of ")) for found in told}
    ends = {(one.value, one.lower, one.upper) for one in changes}
    assert len(ends) == 1
    ((_, lower, upper),) = ends
    assert lower is not None
    assert upper is not None
    holds = upper < 0 if verb == "fall" else lower > 0
    assert ("which the question takes for granted" in result.answer) is not holds
    assert unfounded_numbers(result.answer, known_of(result.findings), texts_of(result.findings)) == ()
