"""The HTML report: one self-contained page with everything a reader needs, and nothing executable."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from src.app.report import render_report
from src.causal_engine.results import Analysis, BalanceRow, FailedEstimate
from tests.unit.test_report.pages import read_page
from tests.unit.test_report.random_analyses import PLOTTABLE_ANALYSES
from tests.unit.test_report.samples import DATASET, RUN, SAMPLES, association_only, crowded, not_identified, supported

pytestmark = pytest.mark.unit
STAMP = "Internal use — commercial analytics; not clinical advice"


def html(analysis: Analysis) -> str:
    return render_report(RUN, DATASET, analysis, format="html")


@pytest.mark.parametrize(
    "words",
    [
        "Causal effect supported", "confidence: moderate", "Effect: 0.436 NRx per call (95 % interval 0.316 to 0.556)",
        "Do rep calls raise NRx for Fabhalta", "Understood: region", "What to do", "Keep calls at prescribers",
        "What not to conclude", "What would change this answer", "All estimates", "1.07 to 1.35", "without prior_trx",
        "Estimators that could not answer", "OverlapViolated", "Dermatology", "Kept out of the adjustment", "mediator",
        "Standardised mean differences", "Overlap is adequate", "Minimum detectable effect", "placebo treatment",
        "not applicable", "E-value of the estimate", "3 × prior_trx", "2.6 times as strong as prior_trx", "Assumptions",
        "Calls to one prescriber", "Limits", "One quarter of data.", "run_7d20", "0191c2f4-77aa-7bbb-8ccc-0123456789ab",
        "a" * 64, "/data/detailing_q3.csv", "region = northeast", "4,312", "20260101", "4324ac1", "lightgbm", "4.7.0",
        "2026-11-03 09:00:00 UTC", "Where each number comes from", "Unadjusted contrast", STAMP,
    ],
)  # fmt: skip
def test_a_supported_answer_says(words: str, supported_page: str) -> None:
    assert words in read_page(supported_page).text


@pytest.fixture(scope="module")
def supported_page() -> str:
    return html(supported())


def test_a_question_in_words_is_answered_with_what_was_understood_of_it() -> None:
    run = replace(
        RUN, understood={"sentence": "Effect of calls, 2 months later", "assumptions": ["all brands"], "lag": 2}
    )
    facts = read_page(render_report(run, DATASET, supported(), format="html").split('id="findings"')[0]).text
    assert "Effect of calls, 2 months later" in facts
    assert "all brands" in facts
    assert "Understood: lag" not in facts


def test_every_section_has_its_picture_with_words_for_those_who_cannot_see_it(supported_page: str) -> None:
    page = read_page(supported_page)
    assert page.count("svg") == 4
    described = [attrs["aria-label"] for _, attrs in page.elements if attrs.get("role") == "img"]
    assert [str(text).split(" ")[0] for text in described] == ["Specification", "Causal", "Love", "Mirrored"]


@pytest.mark.parametrize(
    "words", ["A lead fails", "FAILED", "Association, not an effect: 0.180", "Pooled elasticity", "No overlap plot",
              "No balance plot", "No graph is drawn: no causal graph was given", "the tests block the claim",
              "No action follows", "specialty"],
)  # fmt: skip
def test_an_association_on_a_panel_says(words: str) -> None:
    assert words in read_page(html(association_only())).text


@pytest.mark.parametrize(
    "words", ["Not identified", "No effect is reported.", "No estimate was made", "No refutation tests were run",
              "Sensitivity was not worked out", "Power was not worked out", "randomise calls"],
)  # fmt: skip
def test_an_unidentified_effect_says_why_parts_are_missing(words: str) -> None:
    page = read_page(html(not_identified()))
    assert words in page.text
    assert page.count("svg") == 1


def test_what_was_not_done_is_not_reported_as_passed() -> None:
    words = read_page(html(not_identified())).text
    assert "Every estimator" not in words
    assert "No measured column" not in words
    assert "Every estimator that was tried answered" in read_page(html(association_only())).text


def test_an_unidentified_effect_shows_no_number_in_the_box_even_when_one_was_computed() -> None:
    analysis = replace(not_identified(), primary=supported().primary)
    box = html(analysis).split('id="findings"')[0]
    assert "0.436" not in box
    assert "No effect is reported." in box


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_run_gives_the_same_bytes(name: str) -> None:
    assert html(SAMPLES[name]()) == html(SAMPLES[name]())


def test_another_process_gives_the_same_bytes(supported_page: str) -> None:
    program = (
        "import hashlib; from src.app.report import render_report; from tests.unit.test_report import samples as s;"
        "page = render_report(s.RUN, s.DATASET, s.supported(), format='html');"
        "print(hashlib.sha256(page.encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(supported_page.encode()).hexdigest()


EVIL = "<script>alert('x')</script>\" onload=\"alert(1)"


def test_names_from_the_data_are_never_markup() -> None:
    sample = supported()
    swap = {"calls": EVIL, "nrx": "<img src=x>", "specialty": "</svg><script>"}
    how = sample.identification
    analysis = replace(
        sample,
        treatment=EVIL,
        outcome="<img src=x>",
        failures=(FailedEstimate(EVIL, EVIL, EVIL, EVIL),),
        balance=(BalanceRow(EVIL, 0.3, 0.1), BalanceRow("</svg><script>", 0.2, 0.1)),
        primary=replace(sample.primary, adjusted_for=("</svg><script>",), estimator=EVIL),
        identification=replace(
            how,
            nodes=tuple(swap.get(name, name) for name in how.nodes),
            edges=tuple((swap.get(a, a), swap.get(b, b)) for a, b in how.edges),
        ),
        conclusion=replace(sample.conclusion, headline=EVIL, confidence=EVIL),
    )
    run = replace(RUN, question=EVIL, understood={"units": EVIL, EVIL: EVIL}, queries=[{EVIL: EVIL}])
    page = read_page(render_report(run, replace(DATASET, name=EVIL, source=EVIL), analysis, format="html"))
    assert page.count("script") == 0
    assert page.count("img") == 0
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert EVIL in page.text


@pytest.mark.parametrize("build", [*SAMPLES.values(), crowded])
def test_the_page_needs_no_network_and_no_script(build) -> None:  # type: ignore[no-untyped-def]
    text = html(build())
    page = read_page(text)
    links = [*page.attributes("href"), *page.attributes("src"), *page.attributes("xlink:href")]
    assert [link for link in links if not link.startswith("#")] == []
    assert re.findall(r"(?:https?:)?//[a-z]", text) == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert {page.count(tag) for tag in ("script", "link", "iframe", "img", "object")} == {0}


@pytest.mark.parametrize("build", [*SAMPLES.values(), crowded])
def test_ids_are_unique_except_for_equal_definitions(build) -> None:  # type: ignore[no-untyped-def]
    text = html(build())
    definitions: dict[str, set[str]] = {}
    for name, rest in re.findall(r'id="([^"]+)"([^>]*)', text):
        definitions.setdefault(name, set()).add(rest)
    assert all(len(bodies) == 1 for bodies in definitions.values())
    for target in re.findall(r'(?:href="#|url\(#)([^")]+)', text):
        assert target in definitions


def test_a_crowded_report_stays_below_two_megabytes() -> None:
    assert len(html(crowded()).encode()) < 2_000_000


@pytest.mark.parametrize(("estimates", "covariates", "nodes"), [(1, 1, 2), (2, 3, 5), (40, 60, 30), (40, 8, 8)])
def test_reports_of_any_size_render_without_warning(estimates: int, covariates: int, nodes: int) -> None:
    assert read_page(html(crowded(estimates, covariates, nodes))).count("svg") >= 3


def test_names_in_scripts_the_layout_font_lacks_stay_readable() -> None:
    analysis = replace(supported(), balance=(BalanceRow("処方量 $x_1$", 0.3, 0.1),))
    assert ">処方量 $x_1$</text>" in html(analysis)


@settings(
    deadline=None,
    derandomize=True,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(PLOTTABLE_ANALYSES)
def test_any_analysis_renders(analysis: Analysis) -> None:
    page = read_page(html(analysis))
    assert page.count("section") >= 11
    assert " nan" not in page.text


@pytest.mark.parametrize("module", ["src.app.report", "src.app.report.text"])
def test_importing_the_report_loads_nothing_heavy(module: str) -> None:
    heavy = {"matplotlib", "jinja2", "networkx", "rich", "pandas", "numpy"}
    program = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
