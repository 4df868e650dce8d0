"""How is an evaluation shown to people, to programs and to a build server?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from src.app.rag_evaluation import EvaluationOutcome
from src.rag.evaluation_report import report_document
from src.rag.scores import METRICS, Aggregate, EvaluationReport, EvaluationResult
from src.rag.statistics import PairedDifference

# Characters that XML 1.0 cannot hold, not even escaped.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def outcome_document(outcome: EvaluationOutcome) -> dict[str, Any]:
    """The outcome as JSON: the report, what is not reached, and the comparison."""
    return {
        **report_document(outcome.report),
        "failures": outcome.failures,
        "comparison": [_difference_document(one) for one in outcome.comparison],
        "undecided": [*outcome.undecided, *outcome.not_compared],
    }


def outcome_lines(outcome: EvaluationOutcome, *, verbose: bool = False) -> Iterator[str]:
    """The outcome as text."""
    report = outcome.report
    asked = "answers of the pipeline" if report.pipeline_called else "answers given in the dataset"
    methods = ", ".join(f"{method} {count}" for method, count in sorted(report.methods.items()))
    yield f"Run {report.run_id}: {report.total_samples} samples of {report.dataset_name} ({asked}; scored by {methods})"
    yield (
        f"passed {report.passed_samples}, failed {report.failed_samples}, not fully measured "
        f"{report.unmeasured_samples}; {report.evaluation_time_seconds:.1f} s; {_cost(report)}"
    )
    for name, one in report.aggregates.items():
        yield f"  {name:<20}{_aggregate(one, report.thresholds.get(name))}"
    if verbose:
        yield from (_sample_line(one) for one in report.results)
    yield from (f"note: {note}" for note in report.notes)
    yield from (f"compared: {one.metric}: {one.verdict.value} ({one.reason})" for one in outcome.comparison)
    yield from (f"undecided: {one}" for one in (*outcome.undecided, *outcome.not_compared))
    yield from (f"below threshold: {failure}" for failure in outcome.failures)
    if not outcome.failures:
        yield "every threshold is reached"


def junit(outcome: EvaluationOutcome) -> bytes:
    """The outcome as JUnit XML, in the elements and attributes that pytest writes.

    A sample below a threshold is a failure, one with an error an error, one that was not fully measured is skipped;
    each threshold over all samples is a case of its own.
    """
    report = outcome.report
    suite = ET.Element("testsuite", name=_xml(f"rag-evaluation {report.dataset_name}"))
    for one in report.results:
        _sample_case(suite, report.dataset_name, one)
    for name in report.thresholds:
        case = ET.SubElement(suite, "testcase", classname="thresholds", name=name, time="0.000")
        for failure in outcome.failures:
            if failure.startswith(f"{name}:"):
                ET.SubElement(case, "failure", message=_xml(failure)).text = _xml(failure)
    for worse in outcome.inferior:
        case = ET.SubElement(suite, "testcase", classname="comparison", name=worse.partition(":")[0], time="0.000")
        ET.SubElement(case, "failure", message=_xml(worse)).text = _xml(worse)
    for reason in outcome.not_compared:
        case = ET.SubElement(suite, "testcase", classname="comparison", name="pairs", time="0.000")
        ET.SubElement(case, "failure", message=_xml(reason)).text = _xml(reason)
    for open_one in outcome.undecided:
        name = open_one.partition(":")[0]
        case = ET.SubElement(suite, "testcase", classname="comparison", name=name, time="0.000")
        ET.SubElement(case, "skipped", type="undecided", message=_xml(open_one)).text = _xml(open_one)
    for attribute, tag in (("errors", "error"), ("failures", "failure"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"./testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    suite.set("time", f"{report.evaluation_time_seconds:.3f}")
    suite.set("timestamp", report.timestamp.isoformat())
    root = ET.Element("testsuites", name="rag evaluation")
    root.append(suite)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _sample_case(suite: ET.Element, dataset: str, one: EvaluationResult) -> None:
    name = _xml(f"{one.sample_id} {one.query}")[:200]
    case = ET.SubElement(suite, "testcase", classname=_xml(dataset), name=name, time=f"{one.duration_ms / 1000:.3f}")
    if one.error is not None:
        ET.SubElement(case, "error", message=_xml(one.error)).text = _xml(_reasons(one))
    elif one.failed_metrics:
        message = "below threshold: " + ", ".join(one.failed_metrics)
        ET.SubElement(case, "failure", message=message).text = _xml(_reasons(one))
    elif not one.passed_thresholds:
        missing = ", ".join(metric for metric in METRICS if one.value(metric) is None)
        ET.SubElement(case, "skipped", type="unmeasured", message=f"not measured: {missing}").text = _xml(_reasons(one))


def _reasons(one: EvaluationResult) -> str:
    return "\n".join(
        f"{metric}: {'not measured' if score.value is None else format(score.value, '.3f')} ({score.reason})"
        for metric, score in one.scores.items()
    )


def _xml(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def _cost(report: EvaluationReport) -> str:
    cost = report.cost
    if not cost.calls and not cost.cached_calls:
        return "no model was asked"
    dollars = "price unknown" if cost.dollars is None else f"{cost.dollars:.4f} dollars"
    return f"{cost.calls} calls ({cost.cached_calls} more from the cache), {dollars}"


def _aggregate(one: Aggregate, threshold: float | None) -> str:
    limit = "" if threshold is None else f", threshold {threshold:g}"
    if one.mean is None:
        return f"not measured{limit}"
    span = "" if one.interval is None else f" [{one.interval.low:.3f}, {one.interval.high:.3f}]"
    bounds = "" if one.measured == one.total else f", between {one.worst:.3f} and {one.best:.3f} over all"
    return f"{one.mean:.3f}{span}{limit}, measured {one.measured} of {one.total}{bounds}"


def _sample_line(one: EvaluationResult) -> str:
    values = ", ".join(f"{metric} {_number(one.value(metric))}" for metric in METRICS)
    state = "passed" if one.passed_thresholds else one.error or ", ".join(one.failed_metrics) or "not fully measured"
    return f"  {one.sample_id}  {state}: {values}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _difference_document(one: PairedDifference) -> dict[str, Any]:
    interval = None
    if one.interval is not None:
        interval = {"low": one.interval.low, "high": one.interval.high, "level": one.interval.level}
    return {
        "metric": one.metric,
        "mean_difference": one.mean,
        "interval": interval,
        "sd": one.sd,
        "pairs": one.pairs,
        "shared": one.shared,
        "margin": one.margin,
        "verdict": one.verdict.value,
        "reason": one.reason,
        "pairs_needed": one.pairs_needed,
    }
