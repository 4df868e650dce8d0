"""The compiled explainer graph: its route, its result, its spans and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from src.agents.causal_impact.agent import CausalImpactAgent
from src.agents.explainer.agent import ExplainerAgent
from src.agents.explainer.graph import build_graph
from src.agents.explainer.phrasing import exact
from src.agents.explainer.request import request_from
from src.agents.explainer.services import PLACE, Services
from src.agents.explainer.state import ExplainerState, OutputFormat
from src.agents.runtime import Deps
from src.domain.figures import unfounded_numbers
from src.domain.findings import Evidence, Figure, Finding, FindingStatus, Statement, StatementKind, known_of, texts_of
from src.errors import ContractViolation
from src.mlops.tracing.orphans import find_orphans
from tests.traces import memory_connector
from tests.unit.test_agents.test_causal_impact import fakes
from tests.unit.test_agents.test_explainer.parts import EFFECT, FORMATS, GAP, READERS, absent, explain, request

ROUTE = ["audit_init", "assemble", "reason", "generate"]


def as_json(value: Any) -> Any:
    return dataclasses.asdict(value)


async def test_a_run_goes_from_audit_to_text_and_every_node_is_a_span_of_it() -> None:
    ran = await explain(request(EFFECT))
    assert ran.progress == ROUTE
    (root,) = ran.spans("run")
    assert find_orphans(ran.sink.spans) == []
    for node in ROUTE:
        (span,) = ran.spans(node)
        assert (span["parent_span_id"], span["agent_name"]) == (root["span_id"], "explainer")
    assert (ran.result.meta.agent_name, ran.result.meta.status) == ("explainer", "completed")
    assert ran.result.meta.trace_id == root["trace_id"]


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ((), "no agent gave a finding"),
        ((absent(),), "Tool composer did not answer in time: no reply within 30 s"),
        (
            (absent(), absent(FindingStatus.DECLINED, "no such brand", "causal_impact")),
            "Causal impact declined to answer: no such brand",
        ),
        ((dataclasses.replace(EFFECT, evidence=()),), "the answer of causal impact was left out: it cites no evidence"),
    ],
)
async def test_without_a_finding_it_is_refused_and_said_why(results: tuple[Finding, ...], said: str) -> None:
    ran = await explain(dataclasses.replace(request(), results=results))
    assert ran.progress == ["audit_init", "assemble", "error_handler"]
    assert (ran.result.meta.status, ran.result.insights) == ("failed", ())
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.error.node) == ("DataUnavailable", "assemble")
    assert said in ran.result.detail
    assert ran.result.summary == ran.result.detail


async def test_what_is_left_out_makes_the_result_partial() -> None:
    untraced = dataclasses.replace(GAP, figures=(Figure("NRx", 1.0, "NRx", "run:nowhere"),))
    ran = await explain(request(untraced))
    assert ran.result.meta.status == "partial"
    assert ran.result.meta.degraded == ("a figure of tool composer was left out: it cites no evidence",)


async def test_a_request_as_json_gives_the_same_text() -> None:
    asked = request(EFFECT, GAP)
    raw = as_json(asked)
    raw["results"], raw["focus"], raw["passages"] = list(raw["results"]), [], []
    assert (await explain(raw)).result.detail == (await explain(asked)).result.detail


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"user_expertise": "expert"}, "no user_expertise 'expert'"),
        ({"output_format": "poem"}, "no output_format 'poem'"),
        ({"tone": "happy"}, "unknown key 'tone'"),
        ({"query": " "}, "query must be a text"),
        ({"results": "none"}, "results must be a list"),
        ({"results": [{"agent": "x"}]}, "needs 'question'"),
    ],
)
async def test_a_request_that_is_not_valid_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractViolation, match=message):
        await explain({"query": "Why?", "results": [], **changed})


async def test_every_key_that_nodes_write_is_declared() -> None:
    declared = set(ExplainerState.__annotations__)
    assert declared <= set(build_graph().channels)
    for results in ((EFFECT,), (absent(),)):
        connector, _ = memory_connector()
        deps = Deps(
            None,  # type: ignore[arg-type]
            connector,
            "run-1",
            "0192ab3c-7f00-7abc-8def-0123456789ab",
            workspace={PLACE: Services()},
        )
        inputs = {"request": request(*results, use_llm=True)}
        async for update in build_graph().astream(inputs, context=deps, stream_mode="updates"):
            assert all(set(written or {}) <= declared for written in update.values())


async def test_a_slow_run_is_a_warning() -> None:
    connector, _ = memory_connector()
    deps = Deps(None, connector, "run-1", "0192ab3c-7f00-7abc-8def-0123456789ab")  # type: ignore[arg-type]
    result = await ExplainerAgent(Services(), sla_seconds=1e-9).run(request(EFFECT), deps)
    assert any("its budget is" in one for one in result.meta.warnings)


async def analysed() -> Finding:
    """A finding of a causal analysis that was really computed."""
    deps, _ = fakes.deps_for(fakes.FrameDatasets(study=fakes.confounded(0.5, n=400)))
    analysis = (await CausalImpactAgent().run(fakes.request(confounders=("severity",)), deps)).analysis
    assert analysis is not None
    assert analysis.primary is not None
    said, primary = analysis.conclusion, analysis.primary
    kinds = (
        (StatementKind.FINDING, said.findings),
        (StatementKind.CAVEAT, said.limitations),
        (StatementKind.WARNING, said.warnings),
        (StatementKind.RECOMMENDATION, said.recommendations),
        (StatementKind.WOULD_CHANGE, said.would_change),
        (StatementKind.ASSUMPTION, said.assumptions),
    )
    figure = Figure("effect", primary.value, "outcome", "run:1#1", primary.ci.lower, primary.ci.upper)
    return Finding(
        agent="causal_impact",
        question="?",
        status=FindingStatus.COMPLETED,
        headline=said.headline,
        statements=tuple(Statement(kind, text, ("run:1#1",)) for kind, texts in kinds for text in texts),
        figures=(figure, Figure("rows used", float(analysis.n_rows), "rows", "run:1#1")),
        evidence=(Evidence("run:1#1", f"{analysis.n_rows:,} rows were used."),),
        confidence=0.6,
        verdict=str(said.verdict),
    )


async def test_a_real_analysis_is_told_to_every_reader_in_every_form() -> None:
    real = await analysed()
    caveats = [one.text for one in real.of(StatementKind.CAVEAT, StatementKind.WARNING)]
    for reader in READERS:
        for layout in FORMATS:
            told = (await explain(request(real, user_expertise=reader, output_format=layout))).result.detail
            known = [*known_of([real]), float(len(caveats) - 1)]
            assert unfounded_numbers(told, known, texts_of([real])) == ()
            assert layout is OutputFormat.BRIEF or all(one in told for one in caveats)
            assert layout is not OutputFormat.BRIEF or len(told.split()) <= 80


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"focus": "calls"}, "focus must be a list"),
        ({"focus": [1]}, "focus must be a list of texts"),
        ({"results": "none"}, "results must be a list"),
        ({"passages": {"chunk_id": "c"}}, "passages must be a list"),
        ({"results": [{"statements": "it rose"}]}, "statements must be a list"),
        ({"results": [{"figures": {}}]}, "figures must be a list"),
        ({"results": [{"evidence": "run:1"}]}, "evidence must be a list"),
        ({"results": [{"follow_ups": "and now?"}]}, "follow_ups must be a list"),
        ({"results": [{"degraded": [None]}]}, "degraded must be a list of texts"),
        ({"results": [{"prompt_versions": ["explainer"]}]}, "prompt_versions must be a list of names"),
    ],
)
def test_what_should_be_a_list_and_is_none_is_refused_by_name(changed: dict[str, Any], said: str) -> None:
    found = {"agent": "causal_impact", "question": "?", "status": "completed"}
    raw = {"query": "What of calls?", "results": [found], **changed}
    raw["results"] = (
        [{**found, **one} for one in raw["results"]] if isinstance(raw["results"], list) else raw["results"]
    )
    with pytest.raises(ContractViolation, match=said):
        request_from(raw)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.53541, "0.5354"),
        (1500.0, "1,500"),
        (-12345.6, "−12,346"),
        (-0.0, "0"),
        (-2.1e-7, "−2.1e-07"),
        (float("inf"), "unlimited"),
        (float("-inf"), "−unlimited"),
    ],
)
def test_a_figure_is_written_exactly_with_one_kind_of_minus(value: float, text: str) -> None:
    assert exact(value) == text
