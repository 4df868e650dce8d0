"""Do datasets say what they should, and does a wrong file say where it is wrong?"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from src.errors import ContractViolation, UnreadableFile
from src.rag.evaluation_datasets import (
    create_evaluation_sample,
    get_adversarial_dataset,
    get_default_evaluation_dataset,
    load_evaluation_dataset,
    save_evaluation_dataset,
)
from src.rag.samples import EvaluationSample, dataset_hash

NUMBER = re.compile(r"\d[\d.,]*\d|\d")
KINDS = ("wrong_number", "wrong_brand", "unsupported_claim", "irrelevant_context", "refusal_expected")


def test_the_default_dataset_asks_two_questions_a_brand_and_four_across() -> None:
    samples = get_default_evaluation_dataset()
    assert [sample.metadata["brand"] for sample in samples] == [
        *("Kisqali", "Kisqali", "Fabhalta", "Fabhalta", "Remibrutinib", "Remibrutinib"),
        *("all", "all", "all", "all"),
    ]
    assert len({sample.metadata["category"] for sample in samples}) == len({one.sample_id for one in samples}) == 10


def test_the_default_dataset_has_no_answers_and_calls_its_figures_illustrative() -> None:
    for sample in get_default_evaluation_dataset():
        assert sample.answer is None
        assert sample.metadata["figures"] == "illustrative"


@pytest.mark.parametrize("sample", get_default_evaluation_dataset(), ids=lambda one: one.metadata["category"])
def test_every_number_of_a_ground_truth_stands_in_its_contexts(sample: EvaluationSample) -> None:
    assert sample.ground_truth is not None
    in_contexts = set(NUMBER.findall(" ".join(sample.contexts)))
    assert set(NUMBER.findall(sample.ground_truth)) <= in_contexts


def test_there_are_three_adversarial_items_of_each_kind() -> None:
    items = get_adversarial_dataset()
    assert Counter(item.metadata["kind"] for item in items) == dict.fromkeys(KINDS, 3)
    assert all(item.answer for item in items)
    assert {item.metadata.get("expects") for item in items if item.metadata["kind"] == "refusal_expected"} == {
        "decline"
    }


@pytest.mark.parametrize("item", get_adversarial_dataset()[:6], ids=lambda one: f"{one.metadata['kind']}")
def test_a_wrong_answer_differs_from_the_right_one_in_its_number_or_brand_only(item: EvaluationSample) -> None:
    assert item.answer is not None
    assert item.ground_truth is not None
    changed = [pair for pair in zip(item.answer.split(), item.ground_truth.split(), strict=True) if len(set(pair)) > 1]
    assert len(changed) == 1


def test_irrelevant_contexts_stand_in_place_of_the_right_ones() -> None:
    for item in get_adversarial_dataset():
        if item.metadata["kind"] == "irrelevant_context":
            assert item.answer == item.ground_truth
            assert not set(item.scored_contexts) & set(item.contexts)


@pytest.mark.parametrize("name", ["set.json", "set.jsonl"])
def test_a_saved_dataset_is_read_back_as_it_was(name: str, tmp_path: Path) -> None:
    samples = [*get_default_evaluation_dataset(), *get_adversarial_dataset(), EvaluationSample("Ünïcode?\u2028 yes")]
    save_evaluation_dataset(samples, tmp_path / name)
    again = load_evaluation_dataset(tmp_path / name)
    assert again == samples
    assert dataset_hash(again) == dataset_hash(samples)


def written(tmp_path: Path, *lines: Any) -> Path:
    file = tmp_path / "set.jsonl"
    file.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines), "utf-8")
    return file


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"answer": "a"}, "line 2: the key 'query' is missing"),
        ({"query": "  "}, "line 2: 'query' is empty"),
        ({"query": 3}, "line 2: 'query' is no text but int"),
        ({"query": "q", "contexts": "one text"}, "line 2: 'contexts' is no list of texts"),
        ({"query": "q", "contexts": [1]}, "line 2: 'contexts' is no list of texts"),
        ({"query": "q", "retrieved_contexts": "x"}, "line 2: 'retrieved_contexts' is no list of texts"),
        ({"query": "q", "metadata": None, "contexts": None}, None),
        ({"query": "q", "metadata": []}, "line 2: 'metadata' is no object"),
        ({"query": "q", "contexts": 0}, "line 2: 'contexts' is no list of texts"),
        ({"query": "q", "contexts": False}, "line 2: 'contexts' is no list of texts"),
        ({"query": "q", "contexts": ""}, "line 2: 'contexts' is no list of texts"),
        ({"query": "q", "contexts": {}}, "line 2: 'contexts' is no list of texts"),
        ('{"query": "q", "query": "r"}', "line 2: the key 'query' is given twice"),
        ('{"query": "q", "metadata": {"a": {"b": 1, "b": 2}}}', "line 2: 'metadata' holds the key 'b' twice"),
        ('{"query": "q", "metadata": {"a": ["x\\u0000"]}}', "line 2: 'metadata' holds a character that cannot"),
        ('{"query": "q", "metadata": {"\\ud800": 1}}', "line 2: 'metadata' holds a character that cannot"),
        ('{"query": "q", "metadata": {"a": NaN}}', "line 2: 'metadata' holds a number that cannot"),
        ('{"query": "q", "metadata": {"a": 1e999}}', "line 2: 'metadata' holds a number that cannot"),
        ('{"query": "q", "metadata": {"a": 12345678901234567890}}', "line 2: 'metadata' holds a number that cannot"),
        ('{"query": "q", "answer": NaN}', "line 2: 'answer' is no text but float"),
        ({"query": "q", "sample_id": " "}, "line 2: 'sample_id' has at most 200 characters"),
        ({"query": "q", "sample_id": "x" * 201}, "line 2: 'sample_id' has at most 200 characters"),
        ({"query": "q", "metadata": [1]}, "line 2: 'metadata' is no object"),
        ({"query": "q", "anwser": "a"}, "line 2: unknown key 'anwser'; did you mean 'answer'?"),
        ('{"query": "\\u0000"}', "line 2: 'query' holds a character that cannot be stored"),
        ('{"query": "q", "contexts": ["\\ud800"]}', "line 2: 'contexts' holds a character that cannot be stored"),
        ([], "line 2: expected an object"),
        ({"query": "first", "answer": "b"}, "two samples ask the same: line 1 and line 2; .* give each a sample_id"),
        ({"query": "first"}, "two samples ask the same: line 1 and line 2$"),
        ({"query": "other", "sample_id": "s1"}, "two samples have the id s1: line 1 and line 2"),
    ],
)
def test_a_wrong_line_is_named_with_what_is_wrong(line: Any, said: str | None, tmp_path: Path) -> None:
    first = {"query": "first"} if said is None or "s1" not in said else {"query": "first", "sample_id": "s1"}
    file = written(tmp_path, first, line)
    if said is None:
        assert len(load_evaluation_dataset(file)) == 2
        return
    with pytest.raises(ContractViolation, match=said):
        load_evaluation_dataset(file)


def test_a_number_of_thousands_of_digits_is_one_line_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="line 1: holds a number that is too long"):
        load_evaluation_dataset(written(tmp_path, '{"query": "q", "metadata": {"n": ' + "1" * 5000 + "}}"))


def test_in_an_array_the_sample_with_a_repeated_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text('[{"query": "a"}, {"query": "q", "query": "r"}]', "utf-8")
    with pytest.raises(ContractViolation, match="sample 2: the key 'query' is given twice"):
        load_evaluation_dataset(file)


def test_a_line_that_is_no_json_is_named_with_its_column(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"line 2: no valid JSON: .* \(column \d+\)"):
        load_evaluation_dataset(written(tmp_path, {"query": "q"}, '{"query": oops}'))


@pytest.mark.parametrize(
    ("text", "error"), [("{}", ContractViolation), ("[", UnreadableFile), ("[]", ContractViolation)]
)
def test_a_file_that_is_no_array_of_samples_is_refused(text: str, error: type[Exception], tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(text, "utf-8")
    with pytest.raises(error, match=re.escape(str(file))):
        load_evaluation_dataset(file)


def test_blank_lines_and_a_byte_order_mark_are_no_samples(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_bytes(b'\xef\xbb\xbf\n{"query": "q"}\r\n\n')
    assert [sample.query for sample in load_evaluation_dataset(file)] == ["q"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnreadableFile, match=re.escape(str(file))):
        load_evaluation_dataset(file)


def test_a_folder_that_is_not_there_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="cannot be written"):
        save_evaluation_dataset([], tmp_path / "none" / "set.json")


@pytest.mark.parametrize("changed", [{"query": " "}, {"contexts": "one text"}, {"answer": 1}])
def test_a_sample_is_checked_when_it_is_made(changed: Any) -> None:
    with pytest.raises(ContractViolation, match="sample: "):
        create_evaluation_sample(**{"query": "q", **changed})


@pytest.mark.parametrize("deciding", [{"expects": "decline"}, {"kind": "wrong_number"}, {"declined": "no evidence"}])
def test_the_hash_changes_with_what_decides_the_verdict_and_not_with_labels(deciding: dict[str, str]) -> None:
    plain = create_evaluation_sample("one")
    assert dataset_hash([plain]) != dataset_hash([create_evaluation_sample("one", metadata=deciding)])
    assert dataset_hash([plain]) == dataset_hash([create_evaluation_sample("one", metadata={"trace_id": "t"})])


def test_the_hash_changes_with_an_answer_and_not_with_the_order() -> None:
    one, two = create_evaluation_sample("one"), create_evaluation_sample("two")
    assert dataset_hash([one, two]) == dataset_hash([two, one])
    assert dataset_hash([one, two]) != dataset_hash([one, create_evaluation_sample("two", answer="a")])
