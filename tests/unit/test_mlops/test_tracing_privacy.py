"""Does anything private leave the process, and does anything ordinary get lost on the way?"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.contracts.tables import TABLES
from src.mlops.tracing.privacy import CUT, REDACTED, Redactor, beginning, personal_columns, snapshot
from src.mlops.tracing.records import MemorySink
from src.settings import CONFIG_DIR
from src.synthetic.panel.knowledge import PANEL_QUESTIONS
from tests.unit.test_mlops.recorded import connector_on, say_everywhere, settings

LETTERS = st.text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=6, max_size=24).map(
    "Zq9x7K".__add__
)
SECRET_KEYS = [
    "password", "db_password", "Passwd", "api_key", "apiKey", "X-API-Key", "OPENAI_API_KEY", "client_secret", "token",
    "accessToken", "authorization", "Authorization", "private_key", "connection_string", "DSN", "cookie", "credentials",
]  # fmt: skip
PERSONAL_KEYS = [
    *sorted(personal_columns()), "patientId", "HCP_ID", "hcp_ids", "prescriber_npi", "email", "contact_email", "emails",
    "phone", "patient_name", "physician_name", "lastName", "ssn", "date_of_birth", "address",
]  # fmt: skip
PERSON = st.sampled_from(["Anna Keller", "John Doe", "Maria del-Monte", "Xin O'Neill", "José Álvarez"])
# A text around what is planted, and what of it must not be seen anywhere.
IN_TEXT: dict[str, Callable[[str, str], tuple[str, list[str]]]] = {
    "bearer": lambda word, _: (f"Authorization: Bearer {word}", [word]),
    "basic": lambda word, _: (f"proxy said Basic {word}aB9=", [word]),
    "url": lambda word, _: (f"postgresql://ana:{word}@db.local:5432/e2i", [word]),
    "pair": lambda word, _: (f"connect host=x password={word} port=1", [word]),
    "quoted": lambda word, _: (f'{{"api_key": "{word}", "rows": 5}}', [word]),
    "env": lambda word, _: (f"OPIK_API_KEY={word}", [word]),
    "anthropic": lambda word, _: (f"used sk-ant-{word} for it", [word]),
    "github": lambda word, _: (f"cloned with ghp_{word}{word}", [word]),
    "jwt": lambda word, _: (f"eyJ{word}.{word}.{word}", [word]),
    "email": lambda word, _: (f"write to {word}@clinic.example.org now", [word]),
    "patient id": lambda _, __: ("rows of patient_00123 and PAT-99817", ["patient_00123", "PAT-99817"]),
    "hcp id": lambda _, __: ("rep saw hcp_4711x", ["hcp_4711x"]),
    "npi": lambda _, __: ("NPI: 1234567893, npi 1987654321", ["1234567893", "1987654321"]),
    "mrn": lambda _, __: ("MRN number 00881234", ["00881234"]),
    "ssn": lambda _, __: ("ssn 123-45-6789", ["123-45-6789"]),
    "doctor": lambda _, name: (f"Dr. {name} prescribed it", [name]),
    "patient": lambda _, name: (f"the patient {name} stopped", [name]),
}
ORDINARY = [
    "Does rep_calls raise TRx for Kisqali in the Northeast between 2025-01-01 and 2025-06-30?",
    "Which patient segments respond? Patient Journeys and Patient Volume by region, patient TRx too",
    "basic statistics: 1,234 rows, 12 columns; the key driver is email_open_rate (0.42)",
    "prior authorization: approved in 45 % of cases; prior_authorization=pending",
    "input_tokens: 512, output_tokens=20, token_count: 532, max_tokens=4096",
    "model claude-sonnet-5-5 and gpt-5-mini, run 0190a6c2-7b1e-7cc3-98c4-dc0c0c07398f",
    "hcp_specialty, patient_volume, hcp_id and rep_calls are columns",
    "ATE 0.132 (95 % CI 0.08-0.19), p = 0.003, 2-3 weeks lag, n=3-5",
    "https://docs.example.org/api?page=2 answered 503 after 1.5 s",
]


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(settings().spans.redact)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_untouched(redactor: Redactor, text: str) -> None:
    assert redactor.clean_text(text) == text


def test_the_questions_and_the_kpis_are_untouched(redactor: Redactor) -> None:
    texts = [question.text for question in PANEL_QUESTIONS]
    kpis = yaml.safe_load((CONFIG_DIR / "kpi_definitions.yaml").read_text(encoding="utf-8"))
    for text in [*texts, json.dumps(kpis)]:
        assert redactor.clean_text(text) == text


def test_of_the_contracts_columns_exactly_the_personal_ones_are_private(redactor: Redactor) -> None:
    columns = {column.name for table in TABLES.values() for column in table.columns}
    assert {name for name in columns if redactor.is_private_key(name)} == personal_columns() & columns
    assert personal_columns() >= {"patient_hash", "npi", "first_name", "last_name", "zip_code", "patient_id", "hcp_id"}


@pytest.mark.parametrize("key", [*SECRET_KEYS, *PERSONAL_KEYS])
@pytest.mark.parametrize("value", ["x", ["a"], {"b": 1}, ""])
def test_a_private_key_hides_its_value(redactor: Redactor, key: str, value: Any) -> None:
    assert redactor.clean({"outer": [{key: value}]}) == {"outer": [{key: REDACTED}]}


@pytest.mark.parametrize("key", ["npi", "phone", "password", "ssn", "secret_token", "api_key"])
def test_a_number_under_a_private_key_is_hidden(redactor: Redactor, key: str) -> None:
    assert redactor.clean({key: 1234567893}) == {key: REDACTED}


@pytest.mark.parametrize("key", ["token_count", "max_token", "input_tokens", "total_tokens", "token_budget"])
def test_a_number_of_tokens_is_a_count(redactor: Redactor, key: str) -> None:
    assert redactor.clean({key: 512}) == {key: 512}


@pytest.mark.parametrize(
    "key",
    ["prior_authorization", "author", "keywords", "primary_key", "email_open_rate", "phone_calls", "name", "brand"],
)
def test_an_ordinary_key_keeps_its_value(redactor: Redactor, key: str) -> None:
    assert redactor.clean({key: "approved"}) == {key: "approved"}


@pytest.mark.parametrize("key", ["has_password", "api_key", "email"])
@pytest.mark.parametrize("value", [True, False, None])
def test_that_something_private_is_there_may_be_said(redactor: Redactor, key: str, value: bool | None) -> None:
    assert redactor.clean({key: value}) == {key: value}


@pytest.mark.parametrize("kind", IN_TEXT)
@given(word=LETTERS, name=PERSON, before=st.text(max_size=20), after=st.text(max_size=20))
@examples(max_examples=25)
def test_nothing_private_stays_in_a_text(kind: str, word: str, name: str, before: str, after: str) -> None:
    text, planted = IN_TEXT[kind](word, name)
    cleaned = Redactor().clean_text(f"{before} {text} {after}")
    rest = f"{before} {after}"
    assert [secret for secret in planted if secret in cleaned and secret not in rest] == []
    assert REDACTED in cleaned


@pytest.mark.parametrize("kind", IN_TEXT)
@given(word=LETTERS, name=PERSON, room=st.integers(0, 80))
@examples(max_examples=25)
def test_what_a_cut_leaves_of_something_private_is_hidden_too(kind: str, word: str, name: str, room: int) -> None:
    text, planted = IN_TEXT[kind](word, name)
    kept = Redactor().clean_text(snapshot("filler " * 20 + text, 140 + room))
    for secret in planted:
        assert secret[: max(6, len(secret) // 3)] not in kept


@pytest.mark.parametrize("budget", range(60))
def test_a_number_under_a_private_key_stays_hidden_wherever_the_cut_goes(redactor: Redactor, budget: int) -> None:
    copied = snapshot({"rows": "filler of some length", "password": 987654, "npi": 987655}, budget)
    assert "98765" not in json.dumps(redactor.clean(copied))


@given(st.text(), st.integers(-5, 400))
def test_a_beginning_is_a_beginning(text: str, length: int) -> None:
    kept = beginning(text, length)
    if len(text) <= length:
        assert kept == text
    else:
        assert kept.endswith(CUT)
        assert text.startswith(kept.removesuffix(CUT))
        assert len(kept) <= max(length, 0) + len(CUT)


@pytest.mark.parametrize("kind", IN_TEXT)
async def test_something_private_said_anywhere_is_in_no_spool_record_or_log(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    text, planted = IN_TEXT[kind]("Zk4hW9qLm2Tx", "Anna Keller")
    sink = MemorySink()
    connector = connector_on(tmp_path, sink)
    say_everywhere(connector, text)
    await connector.accepted()
    spooled = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode()
    assert await connector.shutdown()
    delivered = b"".join(record.body for record in sink.records).decode()
    assert len(sink.records) == 5
    assert connector.get_status()["refused"] == 0
    for secret in planted:
        assert secret not in spooled + delivered + caplog.text


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclass
class Point:
    x: float
    y: float


@pytest.mark.parametrize(
    ("value", "copied"),
    [
        ({"a": (1, 2), "b": {3}}, {"a": [1, 2], "b": [3]}),
        (Colour.RED, "red"),
        (Level.HIGH, "3"),
        (Point(1.0, 2.0), {"x": 1.0, "y": 2.0}),
        (np.float64(1.5), 1.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.float32(0.25), 0.25),
        (np.zeros((3, 2)), "<ndarray (3, 2)>"),
        (pd.DataFrame({"name": ["Ann"]}), "<DataFrame (1, 1)>"),
        (b"secret", "<bytes of 6>"),
        (object(), "<object>"),
        ({1: "a", None: "b"}, {"1": "a", "<NoneType>": "b"}),
        (Path("/tmp/x"), "/tmp/x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_snapshot_is_json_and_never_the_rows_of_a_table(value: Any, copied: Any) -> None:
    assert snapshot(value, 1000) == copied
    assert type(snapshot(value, 1000)) is type(copied)


class Counted(list[int]):
    """Says how far it was read."""

    read = 0

    def __iter__(self) -> Any:
        for number in super().__iter__():
            self.read += 1
            yield number


def test_of_a_huge_list_only_the_beginning_is_read() -> None:
    numbers = Counted(range(1_000_000))
    copied = snapshot(numbers, 10 * 1024)
    assert copied[:3] == [0, 1, 2]
    assert copied[-1] == CUT
    assert numbers.read < 5_000


def test_a_value_that_contains_itself_ends() -> None:
    value: dict[str, Any] = {"n": 1}
    value["again"] = value
    assert CUT in json.dumps(snapshot(value, 10_000), ensure_ascii=False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text() | st.integers(), inner, max_size=5),
        max_leaves=30,
    ),
    st.integers(0, 300),
)
def test_a_snapshot_stays_within_its_budget(value: Any, budget: int) -> None:
    copied = snapshot(value, budget)
    texts = [text.removesuffix(CUT) for text in strings_of(copied)]
    assert sum(map(len, texts)) <= max(budget, 0)
    json.dumps(copied)


def strings_of(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *strings_of(item)]]
    return [text for item in value for text in strings_of(item)] if isinstance(value, list) else []
