"""Which questions is an evaluation made of, and how are they kept in files?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.errors import ContractViolation, UnreadableFile, nearest_names
from src.rag.judging.declined import DECLINE, EXPECTS
from src.rag.samples import EvaluationSample, content_id

KIND = "kind"
AFFECTED = "affected_metric"
ILLUSTRATIVE = {"figures": "illustrative"}
"""Said of every sample here: the figures are plausible and describe nothing that was measured."""
MAX_ID = 200
"""Characters of a sample's id."""
KEYS = ("query", "ground_truth", "contexts", "answer", "retrieved_contexts", "metadata", "sample_id")


def get_default_evaluation_dataset() -> list[EvaluationSample]:
    """Ten questions with right answers and right contexts, none with an answer: two a brand, four across brands."""
    return [
        EvaluationSample(query, truth, contexts, metadata={"brand": brand, "category": category, **ILLUSTRATIVE})
        for brand, category, query, truth, contexts in _DEFAULT
    ]


def get_adversarial_dataset() -> list[EvaluationSample]:
    """Three items of each of five kinds, each with an answer, or contexts, that the affected metric must mark down.

    Where ``expects`` is ``decline`` the contexts do not hold what is asked, and only declining is right. The ground
    truth of the other items is the answer that should have been given.
    """
    return [_adversarial(*item) for item in _ADVERSARIAL]


def _adversarial(
    kind: str, brand: str, query: str, truth: str | None, answer: str, right: tuple[str, ...], found: tuple[str, ...]
) -> EvaluationSample:
    metadata = {"brand": brand, "category": "adversarial", KIND: kind, AFFECTED: _AFFECTED[kind], **ILLUSTRATIVE}
    expects = {EXPECTS: DECLINE} if kind == "refusal_expected" else {}
    return EvaluationSample(query, truth, right, answer, found or None, {**metadata, **expects})


_AFFECTED = {
    "wrong_number": "faithfulness",
    "wrong_brand": "faithfulness",
    "unsupported_claim": "faithfulness",
    "irrelevant_context": "context_precision",
    "refusal_expected": "faithfulness",
}


def load_evaluation_dataset(path: Path | str) -> list[EvaluationSample]:
    """Samples of a JSON array or of a file with one JSON object a line (``.jsonl``).

    Raises UnreadableFile for a file that is missing or no JSON, ContractViolation for a wrong, missing or repeated
    key, for what no database keeps (NUL, NaN, half a surrogate pair) and for a sample given twice; both name line or
    place.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(f"{file}: no readable evaluation dataset ({type(error).__name__})") from error
    placed = list(_lines(file, text) if file.suffix == ".jsonl" else _array(file, text))
    if not placed:
        raise ContractViolation(f"{file}: the evaluation dataset has no sample")
    samples = [(place, _sample(place, document)) for place, document in placed]
    _refuse_duplicates(samples)
    return [sample for _, sample in samples]


def save_evaluation_dataset(samples: Iterable[EvaluationSample], path: Path | str) -> None:
    """Write samples as a JSON array, or one a line where the name ends in ``.jsonl``. Raises UnreadableFile."""
    file = Path(path)
    documents = [sample_document(sample) for sample in samples]
    if file.suffix == ".jsonl":
        text = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    else:
        text = json.dumps(documents, ensure_ascii=False, indent=2) + "\n"
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnreadableFile(f"{file}: cannot be written ({type(error).__name__})") from error


def sample_document(sample: EvaluationSample) -> dict[str, Any]:
    """A sample as JSON, without the keys it has no value for."""
    document = {
        "sample_id": sample.sample_id,
        "query": sample.query,
        "ground_truth": sample.ground_truth,
        "contexts": list(sample.contexts),
        "answer": sample.answer,
        "retrieved_contexts": None if sample.retrieved_contexts is None else list(sample.retrieved_contexts),
        "metadata": dict(sample.metadata),
    }
    return {name: value for name, value in document.items() if value is not None}


def create_evaluation_sample(
    query: str,
    *,
    ground_truth: str | None = None,
    contexts: Sequence[str] = (),
    answer: str | None = None,
    retrieved_contexts: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    sample_id: str = "",
) -> EvaluationSample:
    """A sample, checked. Raises ContractViolation for a query without text and for contexts that are one string."""
    document = {
        "query": query,
        "ground_truth": ground_truth,
        "contexts": contexts,
        "answer": answer,
        "retrieved_contexts": retrieved_contexts,
        "metadata": metadata or {},
        "sample_id": sample_id,
    }
    return _sample("sample", document)


def _lines(file: Path, text: str) -> Iterable[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{file}: line {number}", _json(f"{file}: line {number}", line)


def _array(file: Path, text: str) -> Iterable[tuple[str, Any]]:
    documents = _json(str(file), text)
    if not isinstance(documents, list):
        raise ContractViolation(f"{file}: expected a JSON array of samples")
    for number, document in enumerate(documents, start=1):
        yield f"{file}: sample {number}", document


def _json(place: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        where = f" (line {error.lineno}, column {error.colno})" if "line " not in place else f" (column {error.colno})"
        raise UnreadableFile(f"{place}: no valid JSON: {error.msg}{where}") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise UnreadableFile(f"{place}: holds a number that is too long to be read") from error
    except RecursionError as error:
        raise UnreadableFile(f"{place}: nested too deeply to be a sample") from error


class _Repeated(dict[str, Any]):
    """An object of which a key was given twice: the parser kept the last value."""

    key = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    repeated = _Repeated(made)
    repeated.key = next(key for key in made if sum(key == one for one, _ in pairs) > 1)
    return repeated


def _sample(place: str, document: Any) -> EvaluationSample:
    if not isinstance(document, dict):
        raise ContractViolation(f"{place}: expected an object with a 'query'")
    if isinstance(document, _Repeated):
        raise ContractViolation(f"{place}: the key '{document.key}' is given twice")
    if unknown := sorted(set(document) - set(KEYS)):
        raise ContractViolation(f"{place}: unknown key '{unknown[0]}'; {nearest_names(unknown[0], KEYS)}")
    if "query" not in document:
        raise ContractViolation(f"{place}: the key 'query' is missing")
    query = _text(place, "query", document["query"])
    if query is None or not query.strip():
        raise ContractViolation(f"{place}: 'query' is empty")
    metadata = {} if (given := document.get("metadata")) is None else given
    if not isinstance(metadata, dict):
        raise ContractViolation(f"{place}: 'metadata' is no object")
    if (problem := _not_kept(metadata)) is not None:
        raise ContractViolation(f"{place}: 'metadata' holds {problem}")
    return EvaluationSample(
        query=query,
        ground_truth=_text(place, "ground_truth", document.get("ground_truth")),
        contexts=_optional_texts(place, "contexts", document.get("contexts")) or (),
        answer=_text(place, "answer", document.get("answer")),
        retrieved_contexts=_optional_texts(place, "retrieved_contexts", document.get("retrieved_contexts")),
        metadata=metadata,
        sample_id=_id(place, document.get("sample_id")),
    )


def _id(place: str, value: Any) -> str:
    given = _text(place, "sample_id", value) or ""
    if len(given) > MAX_ID or given != given.strip():
        raise ContractViolation(f"{place}: 'sample_id' has at most {MAX_ID} characters, none of them a space at an end")
    return given


def _not_kept(value: Any) -> str | None:
    """What in JSON cannot be stored, None for nothing."""
    if isinstance(value, str):
        return None if _can_be_kept(value) else "a character that cannot be stored (NUL or half a pair)"
    if isinstance(value, int | float):
        return None if math.isfinite(value) and abs(value) < 2**63 else "a number that cannot be stored"
    if isinstance(value, _Repeated):
        return f"the key '{value.key}' twice"
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((found for one in inner if (found := _not_kept(one)) is not None), None)


def _text(place: str, key: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ContractViolation(f"{place}: '{key}' is no text but {type(value).__name__}")
    if value is not None and not _can_be_kept(value):
        raise ContractViolation(f"{place}: '{key}' holds a character that cannot be stored (NUL or half a pair)")
    return value


def _texts(place: str, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ContractViolation(f"{place}: '{key}' is no list of texts")
    return tuple(one for item in value if (one := _text(place, key, item)) is not None)


def _can_be_kept(text: str) -> bool:
    """Neither JSON in PostgreSQL nor UTF-8 holds these."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _optional_texts(place: str, key: str, value: Any) -> tuple[str, ...] | None:
    return None if value is None else _texts(place, key, value)


def _refuse_duplicates(samples: Sequence[tuple[str, EvaluationSample]]) -> None:
    """An id is given once, and so is a question with the same expectations and answer."""
    ids: dict[str, str] = {}
    contents: dict[tuple[str, str | None], str] = {}
    for place, sample in samples:
        derived = content_id(sample.query, sample.ground_truth, sample.contexts)
        content = (derived, sample.answer)
        file, _, here = place.rpartition(": ")
        if (first := ids.get(sample.sample_id)) is not None and sample.sample_id != derived:
            raise ContractViolation(f"{file}: two samples have the id {sample.sample_id}: {_of(first)} and {here}")
        if (first := contents.get(content)) is not None:
            raise ContractViolation(f"{file}: two samples ask the same: {_of(first)} and {here}")
        if (first := ids.get(sample.sample_id)) is not None:
            told = f"{file}: two samples ask the same: {_of(first)} and {here}"
            raise ContractViolation(f"{told}; to keep both answers, give each a sample_id")
        ids[sample.sample_id] = contents[content] = place


def _of(place: str) -> str:
    return place.rpartition(": ")[2]


_KISQALI_TREND = (
    "Kisqali TRx in the northeast rose from 1,180 in January to 1,342 in June, an increase of 13.7 percent.",
    "The rise of Kisqali TRx in the northeast was steady, with the largest monthly gain of 48 scripts in May.",
)
_KISQALI_SHARE = (
    "Kisqali held 23.4 percent of the CDK4/6 inhibitor market in the south in the second quarter, up from 21.1 percent "
    "in the first quarter.",
    "In the midwest the share of Kisqali stayed at 19.8 percent over both quarters.",
)
_FABHALTA_NRX = (
    "Fabhalta NRx in the west reached 264 in the second quarter, 31 more than the 233 of the first quarter.",
    "Haematologists wrote 71 percent of all Fabhalta NRx in the west.",
)
_FABHALTA_DRIVERS = (
    "In the adoption study of Fabhalta, peer referral had the largest estimated effect on first prescription, "
    "followed by completed safety training.",
    "Sample programmes showed no effect on Fabhalta adoption that could be told from zero.",
)
_REMIBRUTINIB_CONVERSION = (
    "Of 420 patients referred for Remibrutinib, 189 started treatment within 60 days, a conversion of 45 percent.",
    "The conversion of Remibrutinib referrals in the first quarter was 38 percent.",
)
_REMIBRUTINIB_TERRITORIES = (
    "Among the territories of Remibrutinib, T-104 and T-117 lie furthest below plan, at 62 and 66 percent of target.",
    "Territory T-121 exceeded its Remibrutinib target by 8 percent.",
)
_NRX_FACTORS = (
    "Across the three brands, detailing visits raised NRx by 0.42 scripts per visit (95 percent interval 0.28 to "
    "0.56) after adjustment for specialty and past volume.",
    "Email contacts were associated with NRx, but the estimated effect after adjustment, 0.03, was not different "
    "from zero.",
)
_TARGETING_GAPS = (
    "Of the prescribers in the top decile of potential, 17 percent received no visit in the last quarter.",
    "The largest targeting gap is among dermatologists in the south, where 44 of 160 high-potential prescribers were "
    "not visited.",
)
_CAMPAIGN_ROI = (
    "The speaker programme cost 1.2 million dollars and brought an estimated 3.0 million dollars of incremental "
    "revenue, a return of 2.5.",
    "The return of the digital campaign was 1.4 at a cost of 0.5 million dollars.",
)
_MODEL_DRIFT = (
    "The churn model's AUC fell from 0.81 at release to 0.74 in June, below its limit of 0.76.",
    "The population stability index of the feature days_since_last_visit rose to 0.31, above the alarm level of 0.25.",
)
_DEFAULT: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    (
        *("Kisqali", "trx_trend", "How did Kisqali TRx develop in the northeast in the first half of the year?"),
        "Kisqali TRx in the northeast rose by 13.7 percent, from 1,180 in January to 1,342 in June.",
        _KISQALI_TREND,
    ),
    (
        *("Kisqali", "market_share", "What market share did Kisqali have in the south in the second quarter?"),
        "Kisqali held 23.4 percent of the CDK4/6 inhibitor market in the south, up from 21.1 percent.",
        _KISQALI_SHARE,
    ),
    (
        *("Fabhalta", "nrx", "How many NRx did Fabhalta reach in the west in the second quarter?"),
        "Fabhalta reached 264 NRx in the west, 31 more than the 233 of the first quarter.",
        _FABHALTA_NRX,
    ),
    (
        *("Fabhalta", "adoption_drivers", "What drives the adoption of Fabhalta?"),
        "Peer referral had the largest estimated effect on first prescription, followed by completed safety training.",
        _FABHALTA_DRIVERS,
    ),
    (
        *("Remibrutinib", "conversion", "Which share of Remibrutinib referrals started treatment within 60 days?"),
        "45 percent of the referrals, 189 of 420 patients, started Remibrutinib within 60 days.",
        _REMIBRUTINIB_CONVERSION,
    ),
    (
        *("Remibrutinib", "territories", "Which territories of Remibrutinib lie furthest below plan?"),
        "Territories T-104 and T-117 lie furthest below plan, at 62 and 66 percent of target.",
        _REMIBRUTINIB_TERRITORIES,
    ),
    (
        *("all", "causal_nrx_factors", "Which factors cause changes in NRx across the brands?"),
        "Detailing visits raised NRx by 0.42 scripts per visit after adjustment for specialty and past volume; the "
        "effect of email contacts was not different from zero.",
        _NRX_FACTORS,
    ),
    (
        *("all", "targeting_gaps", "Where is the largest gap in targeting high-potential prescribers?"),
        "The largest gap is among dermatologists in the south: 44 of 160 high-potential prescribers were not visited.",
        _TARGETING_GAPS,
    ),
    (
        *("all", "campaign_roi", "What return did the speaker programme bring?"),
        "The speaker programme returned 2.5: 3.0 million dollars of incremental revenue for 1.2 million dollars.",
        _CAMPAIGN_ROI,
    ),
    (
        *("all", "model_drift", "Has the churn model drifted?"),
        "Yes: its AUC fell from 0.81 at release to 0.74 in June, below its limit of 0.76.",
        _MODEL_DRIFT,
    ),
)

_ADVERSARIAL: tuple[tuple[str, str, str, str | None, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        *("wrong_number", "Kisqali", "How did Kisqali TRx in the northeast change from January to June?"),
        "Kisqali TRx in the northeast rose from 1,180 in January to 1,342 in June.",
        "Kisqali TRx in the northeast rose from 1,180 in January to 1,834 in June.",
        *(_KISQALI_TREND, ()),
    ),
    (
        *("wrong_number", "Remibrutinib", "What was the conversion of Remibrutinib referrals?"),
        "Of 420 patients referred for Remibrutinib, 189 started treatment within 60 days.",
        "Of 420 patients referred for Remibrutinib, 298 started treatment within 60 days.",
        *(_REMIBRUTINIB_CONVERSION, ()),
    ),
    (
        *("wrong_number", "all", "What did the speaker programme return?"),
        "The speaker programme cost 1.2 million dollars and brought a return of 2.5.",
        "The speaker programme cost 1.2 million dollars and brought a return of 5.2.",
        *(_CAMPAIGN_ROI, ()),
    ),
    (
        *("wrong_brand", "Fabhalta", "How many NRx did Fabhalta reach in the west in the second quarter?"),
        "Fabhalta NRx in the west reached 264 in the second quarter.",
        "Kisqali NRx in the west reached 264 in the second quarter.",
        *(_FABHALTA_NRX, ()),
    ),
    (
        *("wrong_brand", "Kisqali", "Which brand held 23.4 percent of the CDK4/6 inhibitor market in the south?"),
        "Kisqali held 23.4 percent of the CDK4/6 inhibitor market in the south in the second quarter.",
        "Remibrutinib held 23.4 percent of the CDK4/6 inhibitor market in the south in the second quarter.",
        *(_KISQALI_SHARE, ()),
    ),
    (
        *("wrong_brand", "Remibrutinib", "Of which brand are T-104 and T-117 below plan?"),
        "Among the territories of Remibrutinib, T-104 and T-117 lie furthest below plan.",
        "Among the territories of Fabhalta, T-104 and T-117 lie furthest below plan.",
        *(_REMIBRUTINIB_TERRITORIES, ()),
    ),
    (
        *("unsupported_claim", "Fabhalta", "What drives the adoption of Fabhalta?"),
        "Peer referral had the largest estimated effect on first prescription.",
        "Fabhalta spread mainly because insurers removed prior authorisation after a television campaign by celebrity "
        "physicians.",
        *(_FABHALTA_DRIVERS, ()),
    ),
    (
        *("unsupported_claim", "all", "Which factors cause changes in NRx?"),
        "Detailing visits raised NRx by 0.42 scripts per visit.",
        "Winter weather and the closing of rural pharmacies explain most changes in prescribing, according to a "
        "national survey.",
        *(_NRX_FACTORS, ()),
    ),
    (
        *("unsupported_claim", "all", "Has the churn model drifted?"),
        "The churn model's AUC fell from 0.81 at release to 0.74 in June.",
        "The churn model was retrained in March by an outside vendor, who replaced every feature with claims from a "
        "new supplier.",
        *(_MODEL_DRIFT, ()),
    ),
    (
        *("irrelevant_context", "Kisqali", "What market share did Kisqali have in the south in the second quarter?"),
        "Kisqali held 23.4 percent of the CDK4/6 inhibitor market in the south in the second quarter.",
        "Kisqali held 23.4 percent of the CDK4/6 inhibitor market in the south in the second quarter.",
        _KISQALI_SHARE,
        ("The office in Basel moved to a new building.", "Travel expenses are filed by the fifth of each month."),
    ),
    (
        *("irrelevant_context", "Fabhalta", "How many NRx did Fabhalta reach in the west?"),
        "Fabhalta NRx in the west reached 264 in the second quarter.",
        "Fabhalta NRx in the west reached 264 in the second quarter.",
        _FABHALTA_NRX,
        ("The cafeteria offers a vegetarian menu on Fridays.", "Passwords expire after ninety days."),
    ),
    (
        *("irrelevant_context", "Remibrutinib", "Which territories of Remibrutinib lie furthest below plan?"),
        "Territories T-104 and T-117 lie furthest below plan.",
        "Territories T-104 and T-117 lie furthest below plan.",
        _REMIBRUTINIB_TERRITORIES,
        ("Laptops are replaced every four years.", "The parking garage closes at ten in the evening."),
    ),
    (
        *("refusal_expected", "Kisqali", "What will the price of Kisqali be in five years?", None),
        "In five years Kisqali will cost 9,750 dollars a month after two planned increases.",
        *(_KISQALI_TREND, ()),
    ),
    (
        *("refusal_expected", "Fabhalta", "Which patients in Boston stopped taking Fabhalta last week?", None),
        "Eleven patients of a clinic in Boston stopped last week, most of them because of headaches.",
        *(_FABHALTA_NRX, ()),
    ),
    (
        *("refusal_expected", "Remibrutinib", "How large is the sales team of the competitor of Remibrutinib?", None),
        "The competitor employs 512 representatives and plans to hire another 90 before autumn.",
        *(_REMIBRUTINIB_TERRITORIES, ()),
    ),
)
