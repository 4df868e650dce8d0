"""Does the local server answer with the packaged model only, refuse bad rows, and count honestly?"""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from src.errors import ContractViolation, UnreadableFile
from src.mlops.serving import endpoints
from src.mlops.serving.endpoints import Serving, ask_health, predict_rows
from src.mlops.serving.latencies import Latencies
from src.mlops.serving.mirror import Evidence, FileMirror, Target, observed, write_target
from src.mlops.serving.package import build_package, read_package
from src.mlops.serving.server import PredictionServer, Served
from src.mlops.serving.stored_models import contents_of
from src.resilience.outcomes import Unavailable
from tests.mlflow_store import closed_port
from tests.unit.test_agents.test_ml_foundation.test_model_deployer.parts import (
    FEATURES,
    NAME,
    bundle,
    model_folder,
    raw_rows,
)

ROW = {"x": 2.0, "word": "a"}


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    """A model whose answer can be told from its row."""
    if frame["word"].eq("burst").any():
        raise RuntimeError("patient Miller broke it")
    if frame["x"].map(type).eq(str).any():
        raise ContractViolation("column 'x' must hold\nnumbers")
    return pd.DataFrame({"prediction": frame["x"].astype(float) * 2, "probability": np.float64(0.25)})


@contextmanager
def serving(predict: Any = doubled, **options: Any) -> Iterator[PredictionServer]:
    server = PredictionServer(Served("m", 3, "d1", ("x", "word"), predict), **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server: PredictionServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def predict(server: PredictionServer, *rows: Any) -> tuple[int, Any]:
    return ask(server, "POST", "/predict", {"rows": list(rows)})


def eventually(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def served() -> Iterator[PredictionServer]:
    with serving() as server:
        yield server


def test_rows_are_answered_in_their_order_with_the_version_that_answered(served: PredictionServer) -> None:
    status, said = predict(served, ROW, {**ROW, "x": 5})
    assert status == 200
    assert said["predictions"] == [{"prediction": 4.0, "probability": 0.25}, {"prediction": 10.0, "probability": 0.25}]
    assert (said["model"], said["version"], said["digest"]) == ("m", 3, "d1")


def test_columns_the_model_does_not_use_are_left_out(served: PredictionServer) -> None:
    assert predict(served, {**ROW, "patient_id": "p1"})[1]["predictions"][0]["prediction"] == 4.0


def test_an_answer_that_is_no_number_is_null(served: PredictionServer) -> None:
    assert predict(served, {**ROW, "x": None})[1]["predictions"][0]["prediction"] is None


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{not json", "not JSON"),
        (b'{"rows": [{"x": NaN, "word": "a"}]}', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        ([ROW], "'rows'"),
        ({"rows": []}, "at least one row"),
        ({"rows": {"x": 1}}, "'rows'"),
        ({"rows": [ROW, 7]}, "row 1 is no object"),
        ({"rows": [{"word": "a", "xx": 1}]}, "row 0 has no 'x'"),
        ({"rows": [{"x": {"deep": 1}, "word": "a"}]}, "'x' must be a number"),
        ({"rows": [{"x": "two", "word": "a"}]}, "column 'x' must hold numbers"),
        ({"rows": [ROW] * 10_001}, "too many"),
    ],
)
def test_bad_rows_are_refused_with_one_line(served: PredictionServer, body: Any, says: str) -> None:
    status, said = ask(served, "POST", "/predict", body)
    assert status == 422
    assert says in said["error"]
    assert "\n" not in said["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/", 404), ("GET", "/predict", 405), ("POST", "/health", 405)],
)
def test_other_addresses_say_what_there_is(served: PredictionServer, method: str, path: str, status: int) -> None:
    answered, said = ask(served, method, path)
    assert answered == status
    assert "error" in said


def test_a_body_that_is_too_long_is_refused_before_it_is_read(served: PredictionServer) -> None:
    status, said = ask(served, "POST", "/predict", b"", **{"Content-Length": "999999999"})
    assert status == 413
    assert "longer" in said["error"]


def test_a_body_without_a_length_is_refused(served: PredictionServer) -> None:
    status, _ = ask(served, "POST", "/predict", b"", **{"Content-Length": "many"})
    assert status == 411


def test_a_model_that_fails_is_an_error_without_the_text_of_its_exception() -> None:
    with serving() as server:
        status, said = predict(server, {**ROW, "word": "burst"})
        assert status == 500
        assert said == {"error": "the model failed: RuntimeError"}
        health = ask(server, "GET", "/health")[1]
        assert (health["errors"], health["requests"]) == (1, 1)


def test_health_counts_answers_errors_and_refusals_apart() -> None:
    with serving() as server:
        for row in (ROW, ROW, {**ROW, "word": "burst"}, {"x": 1}):
            predict(server, row)
        said = ask(server, "GET", "/health")[1]
    assert (said["requests"], said["errors"], said["refused"]) == (3, 1, 1)
    assert said["features"] == ["x", "word"]
    assert 0 < said["latency_ms"]["p50"] <= said["latency_ms"]["p99"]


def test_before_the_first_answer_no_latency_is_told() -> None:
    with serving() as server:
        assert ask(server, "GET", "/health")[1]["latency_ms"] == {"p50": None, "p95": None, "p99": None}


def test_requests_at_the_same_time_are_all_answered() -> None:
    with serving() as server:
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: found.append((n, predict(server, {**ROW, "x": n})))) for n in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted((n, said["predictions"][0]["prediction"]) for n, (_, said) in found) == [
        (n, 2.0 * n) for n in range(12)
    ]


def test_a_port_that_is_taken_is_refused() -> None:
    with serving() as server, pytest.raises(OSError, match="in use"):
        PredictionServer(server.served, port=server.server_port)


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 1.0])
def test_a_quantile_is_never_understated_and_at_most_five_percent_too_high(share: float) -> None:
    values = np.random.default_rng(1).lognormal(2, 1, 2_000)
    found = Latencies()
    for value in values:
        found.add(float(value))
    exact = float(np.quantile(values, share, method="inverted_cdf"))
    again = Latencies.from_json(json.loads(json.dumps(found.to_json()))).quantile(share)
    assert again is not None
    assert exact <= again <= exact * 1.0501


# What a version in shadow gets and leaves.


@contextmanager
def mirroring(folder: Path, url: str, digest: str = "d2") -> Iterator[tuple[PredictionServer, Path]]:
    evidence = folder / "shadow" / "evidence.json"
    write_target(folder / "mirror.json", Target(url, evidence, digest))
    mirror = FileMirror(folder / "mirror.json")
    with serving(mirror=mirror) as server:
        yield server, evidence
    mirror.close()


def test_answered_requests_are_copied_and_the_answer_is_the_first_ones(tmp_path: Path) -> None:
    def shadow_model(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"prediction": frame["x"] * -1.0})

    with serving(shadow_model) as shadow:
        with mirroring(tmp_path, shadow.url) as (server, evidence):
            for _ in range(5):
                assert predict(server, ROW)[1]["predictions"][0]["prediction"] == 4.0
            assert predict(server, {"x": 1})[0] == 422
        assert ask(shadow, "GET", "/health")[1]["requests"] == 5
    seen = observed(evidence)
    assert seen is not None
    assert (seen.requests, seen.error_rate, seen.dropped) == (5, 0.0, 0)
    assert seen.p99_ms > 0


def test_a_dead_shadow_counts_as_errors_and_disturbs_no_answer(tmp_path: Path) -> None:
    with mirroring(tmp_path, f"http://127.0.0.1:{closed_port()}") as (server, evidence):
        assert [predict(server, ROW)[0] for _ in range(3)] == [200, 200, 200]
    seen = observed(evidence)
    assert seen is not None
    assert (seen.requests, seen.error_rate) == (3, 1.0)


def test_a_shadow_that_refuses_what_was_answered_counts_as_an_error(tmp_path: Path) -> None:
    def stricter(frame: pd.DataFrame) -> pd.DataFrame:
        raise ContractViolation("never seen")

    with serving(stricter) as shadow, mirroring(tmp_path, shadow.url) as (server, evidence):
        predict(server, ROW)
    seen = observed(evidence)
    assert seen is not None
    assert seen.error_rate == 1.0


def test_evidence_goes_on_after_a_restart_and_begins_anew_for_another_package(tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    for digest, hour, expected in (("a", 8, 1), ("a", 11, 2), ("b", 12, 1)):
        kept = Evidence(Target("http://127.0.0.1:1", file, digest))
        kept.add(5.0, ok=True, now=datetime(2026, 3, 1, hour, tzinfo=UTC))
        kept.save()
        seen = observed(file)
        assert seen is not None
        assert seen.requests == expected
        if (digest, hour) == ("a", 11):
            assert seen.hours == 3.0


def test_nothing_observed_is_no_evidence(tmp_path: Path) -> None:
    assert observed(tmp_path / "evidence.json") is None


# What a package holds.


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "bundle"
    build_package(model_folder(), contents_of(model_folder(), NAME, 3, "run-3"), folder)
    return folder


def copy_of(package: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(package, tmp_path / "copy"))


def test_the_same_model_gives_the_same_digest_elsewhere_and_again(package: Path, tmp_path: Path) -> None:
    contents = contents_of(model_folder(), NAME, 3, "run-3")
    digests = {build_package(model_folder(), contents, tmp_path / name).digest for name in ("a", "b", "a")}
    assert digests == {read_package(package).digest}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_package_holds_model_preprocessing_signature_and_requirements(package: Path) -> None:
    manifest = read_package(package)
    assert manifest.features == FEATURES
    assert {"model/MLmodel", "preprocessing.json", "signature.json", "requirements.txt"} <= set(manifest.files)
    assert any(line.startswith("scikit-learn==") for line in (package / "requirements.txt").read_text().splitlines())
    learnt = json.loads((package / "preprocessing.json").read_text())
    assert [feature["feature_name"] for feature in learnt] == list(FEATURES)
    assert json.loads((package / "signature.json").read_text())["classes"] == ["no", "yes"]


@pytest.mark.parametrize("change", ["edit", "add", "remove", "manifest"])
def test_a_package_that_was_changed_is_refused_by_the_name_of_the_file(
    package: Path, tmp_path: Path, change: str
) -> None:
    folder = copy_of(package, tmp_path)
    if change == "edit":
        (folder / "model" / "MLmodel").write_text("other")
    elif change == "add":
        (folder / "model" / "hook.py").write_text("")
    elif change == "remove":
        (folder / "preprocessing.json").unlink()
    else:
        said = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(said | {"digest": "0" * 64}))
    name = {"edit": "MLmodel", "add": "hook.py", "remove": "preprocessing.json", "manifest": "manifest.json"}[change]
    with pytest.raises(ContractViolation, match=name):
        read_package(folder)


def test_a_folder_without_a_model_is_not_packaged(tmp_path: Path) -> None:
    contents = contents_of(model_folder(), NAME, 3, "run-3")
    with pytest.raises(UnreadableFile, match="no model"):
        build_package(tmp_path, contents, tmp_path / "package")
    with pytest.raises(UnreadableFile, match="no package"):
        read_package(tmp_path)


# A process of its own.


@pytest.fixture(scope="module")
def endpoint(package: Path) -> Iterator[Serving]:
    started = endpoints.start_endpoint(package, environment="staging", timeout_s=120)
    assert isinstance(started, Serving), started
    yield started
    endpoints.stop_endpoint(started.name)


def test_the_process_answers_what_the_model_answers(endpoint: Serving) -> None:
    frame = raw_rows()[list(FEATURES)].head(20)
    expected = bundle().predict(frame)
    found = predict_rows(endpoint, frame.to_dict("records"))
    assert found == expected.to_dict("records")
    assert endpoint.pid != os.getpid()


def test_the_process_says_which_package_it_serves(endpoint: Serving, package: Path) -> None:
    said = ask_health(endpoint)
    assert not isinstance(said, Unavailable)
    assert (said["model"], said["version"], said["digest"]) == (NAME, 3, read_package(package).digest)
    assert endpoints.running_endpoints(NAME, "staging") == [endpoint]
    assert endpoints.running_endpoints(NAME, "production") == []


def test_rows_the_model_refuses_are_an_error_of_the_caller(endpoint: Serving) -> None:
    with pytest.raises(ContractViolation, match="row 0 has no 'visits'"):
        predict_rows(endpoint, [{"segment": "a"}])


def test_starting_it_again_returns_the_process_there_is(endpoint: Serving, package: Path) -> None:
    assert endpoints.start_endpoint(package, environment="staging") == endpoint
    refused = endpoints.start_endpoint(package, environment="staging", role="shadow")
    assert isinstance(refused, Unavailable)
    assert str(endpoint.pid) in refused.reason


def test_another_port_than_the_one_it_listens_on_is_refused_in_words_and_it_goes_on(
    endpoint: Serving, package: Path
) -> None:
    present = int(endpoint.url.rpartition(":")[2])
    other = closed_port()
    refused = endpoints.start_endpoint(package, environment="staging", port=other)
    assert isinstance(refused, Unavailable)
    assert f"already running with port {present}, not {other}" in refused.reason
    assert endpoints.start_endpoint(package, environment="staging", port=present) == endpoint


def test_a_taken_port_makes_the_endpoint_unavailable_and_leaves_nothing_running(
    endpoint: Serving, package: Path
) -> None:
    port = int(endpoint.url.rpartition(":")[2])
    refused = endpoints.start_endpoint(package, environment="development", port=port, timeout_s=120)
    assert isinstance(refused, Unavailable)
    assert "in use" in refused.reason
    assert endpoints.running_endpoints(NAME, "development") == []


def test_a_changed_package_is_never_started(package: Path, tmp_path: Path) -> None:
    folder = copy_of(package, tmp_path)
    (folder / "requirements.txt").write_text("")
    with pytest.raises(ContractViolation, match="requirements"):
        endpoints.start_endpoint(folder)


def test_the_process_says_how_far_it_is_with_starting(endpoint: Serving) -> None:
    said = (endpoints.serving_folder() / endpoint.name / endpoints.LOG).read_text("utf-8").splitlines()
    assert said == ["reading the package", f"loading version 3 of {NAME}", f"listening at {endpoint.url}"]


def test_a_process_that_is_too_slow_is_ended_and_the_answer_says_where_to_look(package: Path) -> None:
    refused = endpoints.start_endpoint(package, environment="late", timeout_s=0.01)
    assert isinstance(refused, Unavailable)
    log = endpoints.serving_folder() / endpoints.endpoint_name(NAME, "late", 3) / endpoints.LOG
    assert "did not start within 0.01 s" in refused.reason
    assert str(log) in refused.reason
    assert endpoints.running_endpoints(NAME, "late") == []


@pytest.mark.slow
def test_a_process_killed_from_outside_is_no_endpoint_any_more_and_its_pid_is_not_hit(package: Path) -> None:
    started = endpoints.start_endpoint(package, environment="production", timeout_s=120)
    assert isinstance(started, Serving)
    os.kill(started.pid, signal.SIGKILL)
    assert eventually(lambda: endpoints.running_endpoint(started.name) is None)
    assert isinstance(ask_health(started), Unavailable)
    assert endpoints.stop_endpoint(started.name) is False
    assert endpoints.stop_endpoint("never_started") is False


def test_a_pid_file_without_its_process_kills_nobody(tmp_path: Path) -> None:
    folder = endpoints.serving_folder() / "stale"
    folder.mkdir(parents=True)
    mine = Serving("stale", "m", 1, "d", "staging", "primary", "http://127.0.0.1:1", os.getpid(), datetime.now(UTC))
    endpoints.write_state(folder, mine)
    assert endpoints.running_endpoint("stale") is None
    assert endpoints.stop_endpoint("stale") is False
