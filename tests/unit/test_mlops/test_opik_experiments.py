"""Does an evaluation become a dataset and an experiment that Opik's own client can read?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from src.errors import ServiceRefused
from src.mlops.tracing.configuration import OpikSettings
from src.mlops.tracing.opik_experiments import (
    Experiment,
    ExperimentSample,
    OpikExperiments,
    RecordedExperiment,
    named_id,
)
from src.resilience.circuit_breaker import CircuitBreaker
from src.resilience.outcomes import Unavailable
from src.scripted_servers import faults
from src.scripted_servers.opik import ScriptedOpik
from tests.opik_contract import problem, sdk_types
from tests.opik_samples import START, identity

ANSWERS = [identity(1.0, number) for number in range(3)]


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    sdk_types()
    with ScriptedOpik(validate=problem) as server:
        yield server


def experiments_on(opik: ScriptedOpik, **bounds: Any) -> OpikExperiments:
    return OpikExperiments(OpikSettings(url=opik.url), breaker=CircuitBreaker("opik"), **bounds)


def experiment(count: int = 3) -> Experiment:
    samples = [
        ExperimentSample(f"s{number}", {"query": f"question {number}"}, ANSWERS[number] if number < 2 else None)
        for number in range(count)
    ]
    return Experiment(
        run_id="run 1",
        name="nightly",
        dataset_name="default@abc",
        samples=samples,
        began_at=START,
        project="e2i-rag-evaluation",
        description="ten questions",
        metadata={"dataset_hash": "abc"},
        scores={"faithfulness": 0.75},
        tags=("rag-evaluation",),
    )


def record(opik: ScriptedOpik, what: Experiment, **bounds: Any) -> RecordedExperiment | Unavailable:
    experiments = experiments_on(opik, **bounds)
    try:
        return experiments.record(what)
    finally:
        experiments.close()


def test_opiks_own_client_finds_the_dataset_its_items_and_the_experiment(opik: ScriptedOpik) -> None:
    recorded = record(opik, experiment())
    assert isinstance(recorded, RecordedExperiment)
    assert (recorded.items, recorded.linked) == (3, 2)
    from opik.rest_api.client import OpikApi

    with httpx.Client(trust_env=False) as client:
        sdk = OpikApi(base_url=opik.url, httpx_client=client)
        dataset = sdk.datasets.get_dataset_by_identifier(dataset_name="default@abc")
        items = sdk.datasets.get_dataset_items(str(dataset.id), size=10).content or []
        run = sdk.experiments.get_experiment_by_id(recorded.experiment_id)
        found = sdk.experiments.find_experiments(name="night").content or []
    assert dataset.description == "ten questions"
    assert [item.data["query"] for item in items] == ["question 0", "question 1", "question 2"]
    assert (run.name, run.dataset_id, run.status) == ("nightly", dataset.id, "completed")
    assert [(score.name, score.value) for score in run.experiment_scores or []] == [("faithfulness", 0.75)]
    assert [one.id for one in found] == [recorded.experiment_id]


def test_what_opiks_own_client_writes_is_kept_and_linked(opik: ScriptedOpik) -> None:
    types = sdk_types()
    from opik.rest_api.client import OpikApi

    item, run, link = named_id("d", "1"), named_id("e", "1"), named_id("l", "1")
    with httpx.Client(trust_env=False) as client:
        sdk = OpikApi(base_url=opik.url, httpx_client=client)
        sdk.datasets.create_dataset(name="theirs", description="by sdk")
        sdk.datasets.create_or_update_dataset_items(
            dataset_name="theirs", items=[types.DatasetItemWrite(id=item, source="sdk", data={"q": 1})]
        )
        sdk.experiments.create_experiment(id=run, dataset_name="theirs", name="mine", status="running")
        sdk.experiments.create_experiment_items(
            experiment_items=[
                types.ExperimentItem(id=link, experiment_id=run, dataset_item_id=item, trace_id=ANSWERS[0])
            ]
        )
        sdk.experiments.finish_experiments(ids=[run])
    assert opik.evaluations.items["theirs"][item]["data"] == {"q": 1}
    assert opik.evaluations.experiments[run]["status"] == "completed"
    assert opik.evaluations.experiment_items[link]["trace_id"] == ANSWERS[0]


def test_every_link_joins_an_item_of_the_dataset_to_the_trace_of_its_answer(opik: ScriptedOpik) -> None:
    recorded = record(opik, experiment())
    assert isinstance(recorded, RecordedExperiment)
    kept = opik.evaluations.items["default@abc"]
    links = opik.evaluations.experiment_items.values()
    assert {(kept[link["dataset_item_id"]]["data"]["sample_id"], link["trace_id"]) for link in links} == {
        ("s0", ANSWERS[0]),
        ("s1", ANSWERS[1]),
    }
    assert {link["experiment_id"] for link in links} == {recorded.experiment_id}
    assert {link["project_name"] for link in links} == {"e2i-rag-evaluation"}


def test_recording_a_run_again_changes_nothing(opik: ScriptedOpik) -> None:
    first = record(opik, experiment())
    before = (dict(opik.evaluations.experiments), dict(opik.evaluations.items), dict(opik.evaluations.experiment_items))
    assert record(opik, experiment()) == first
    assert before == (opik.evaluations.experiments, opik.evaluations.items, opik.evaluations.experiment_items)


def test_another_run_over_the_same_samples_shares_the_datasets_items(opik: ScriptedOpik) -> None:
    record(opik, experiment())
    record(opik, replace(experiment(), run_id="run 2"))
    assert len(opik.evaluations.experiments) == 2
    assert len(opik.evaluations.items["default@abc"]) == 3
    assert len(opik.evaluations.experiment_items) == 4


@pytest.mark.parametrize("interrupted_at", range(4))
def test_an_interrupted_recording_is_completed_by_the_next(opik: ScriptedOpik, interrupted_at: int) -> None:
    opik.script_faults([None] * interrupted_at + [faults.status(503)])
    broken = record(opik, experiment())
    assert isinstance(broken, Unavailable)
    assert "503" in broken.reason
    assert isinstance(record(opik, experiment()), RecordedExperiment)
    assert len(opik.evaluations.items["default@abc"]) == 3
    assert len(opik.evaluations.experiment_items) == 2


def test_a_server_that_is_away_is_a_value(opik: ScriptedOpik) -> None:
    with opik.down():
        answer = record(opik, experiment())
    assert isinstance(answer, Unavailable)
    assert answer.component == "opik"
    assert opik.evaluations.datasets == {}


def test_what_the_server_will_never_take_is_refused(opik: ScriptedOpik) -> None:
    with pytest.raises(ServiceRefused, match="pattern|blank|match"):
        record(opik, replace(experiment(), project=" "))


def test_many_samples_are_sent_in_several_requests(opik: ScriptedOpik) -> None:
    record(opik, experiment(25), most_items=10)
    sent = opik.requests_to("/v1/private/datasets/items")
    assert [len(request.json["items"]) for request in sent] == [10, 10, 5]
    assert len(opik.evaluations.items["default@abc"]) == 25


def test_ids_made_from_names_are_version_7_stable_and_distinct() -> None:
    names = [("a", "b"), ("ab", ""), ("a", "c"), ("b", "b")]
    made = [named_id(*name) for name in names]
    assert len(set(made)) == len(names)
    assert {UUID(identity).version for identity in made} == {7}
    assert {UUID(identity).variant for identity in made} == {"specified in RFC 4122"}
    assert made == [named_id(*name) for name in names]
    assert named_id("default@abc", "s0") == "019b76da-a800-7" + named_id("default@abc", "s0")[15:]


def test_no_secret_and_no_identifier_of_a_sample_reaches_the_server(opik: ScriptedOpik) -> None:
    data = {
        "query": "What did john.smith@example.org say of patient_id PAT-00123 and SSN 123 45 6789?",
        "ground_truth": "hcp_000123 stopped; TRx rose to 1,310",
        "contexts": ["api_key=sk-abcdefgh12345678", "| patient_id | age |\n|---|---|\n| P0001 | 33 |"],
        "internal": "kept back",
    }
    experiments = experiments_on(opik, redact=("internal",))
    experiments.record(replace(experiment(), samples=[ExperimentSample("s0", data)]))
    experiments.close()
    sent = repr([request.json for request in opik.requests])
    private = ("john.smith", "00123", "6789", "000123", "abcdefgh", "P0001", "kept back")
    assert [part for part in private if part in sent] == []
    assert all(part in sent for part in ("TRx rose to 1,310", "| 33 |", "patient_id"))
