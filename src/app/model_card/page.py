"""Which parts does the page of a model have, and in which words?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from src.app.model_card.card import CardSearch, ModelCard
from src.app.model_card.figures import draw_calibration, draw_curves, draw_importance, draw_segments, picture
from src.app.model_card.limits import limits
from src.app.model_card.search_figures import draw_history, draw_parallel
from src.app.model_card.verdict import metric_text, verdict
from src.app.report.blocks import Block, Bullets, Figure, Note, Paragraph, Section, Table, bullets
from src.app.report.numbers import ABSENT, count, moment, percent
from src.app.report.wording import STAMP
from src.causal_engine.wording import number

MOST_FEATURES = 20
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class CardPage:
    """The page, ready to be rendered; ``verdict`` to ``facts`` are the box at its head."""

    title: str
    stamp: str
    origin: str
    tone: str
    verdict: str
    headline: str
    score: str
    meaning: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def compose(card: ModelCard) -> CardPage:
    """The page of a model; parts without evidence say so."""
    told = verdict(card)
    version = "not registered" if card.version is None else f"version {card.version}"
    sections = (
        _measured(card),
        _calibration(card),
        _explained(card),
        _searched(card),
        _segments(card),
        _classes(card),
        _data(card),
        Section("limits", "What not to use it for", (Bullets(limits(card)),)),
        Section("lineage", "Where it comes from", (Table(("step", "identity"), card.lineage),)),
    )
    return CardPage(
        title=f"Model of {card.target}: {card.name}",
        stamp=STAMP,
        origin=f"{card.name} {version}",
        tone=told.tone,
        verdict=told.words,
        headline=told.headline,
        score=_criteria(card),
        meaning=told.meaning,
        facts=_facts(card, version),
        sections=tuple(section for section in sections if section is not None),
    )


def _criteria(card: ModelCard) -> str:
    if card.criteria_met is None:
        return "No criteria were set."
    wanted = ", ".join(f"{name} {bound:g}" for name, bound in card.criteria.items())
    return f"Criteria {'met' if card.criteria_met else 'not met'}: {wanted}."


def _facts(card: ModelCard, version: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Version and stage", f"{version}, {card.stage or 'no stage'}"),
        ("Algorithm", card.algorithm),
        ("Why this one", card.rationale or ABSENT),
        ("Predicts", f"{card.target} ({card.problem})" + (f" = {card.positive}" if card.positive else "")),
        ("Threshold", ABSENT if card.threshold is None else f"{number(card.threshold)}, chosen on validation rows"),
        ("Rows", ", ".join(f"{split} {count(n)}" for split, n in card.rows.items()) or ABSENT),
        ("Trained at", moment(datetime.fromisoformat(card.created_at))),
        *((("Let through", "; ".join(card.approval.lines())),) if card.approval is not None else ()),
        *((("Promotion refused", "; ".join(card.refused)),) if card.refused else ()),
    )


def _measured(card: ModelCard) -> Section:
    names = list(dict.fromkeys(name for split in SPLITS for name in card.metrics.get(split, {})))
    rows = tuple((name, *(_cell(card, split, name) for split in SPLITS), _bounds(card, name)) for name in names)
    stressed = frozenset(place for place, name in enumerate(names) if name == card.primary_metric)
    table = Table(("metric", *SPLITS, "95 % interval (test)"), rows, emphasis=stressed)
    words = "The test rows were read once, after everything was chosen; the intervals are of the bootstrap over them."
    blocks: list[Block] = [Paragraph(words), table]
    if card.curves.get("roc") and card.curves.get("pr"):
        blocks.append(_curves(card))
    if card.confusion:
        heads = ("true \\ predicted", *(str(code) for code in range(len(card.confusion))))
        cells = tuple((str(code), *map(count, line)) for code, line in enumerate(card.confusion))
        blocks.append(Table(heads, cells, "Confusion on the test rows, by class code"))
    return Section("metrics", "How good it is", tuple(blocks))


def _curves(card: ModelCard) -> Figure:
    share = card.class_shares.get("1")
    return Figure(
        draw=lambda: draw_curves(card.curves["roc"], card.curves["pr"], share),
        alt=f"ROC and precision-recall curve on the test rows: {metric_text(card, 'roc_auc')}, "
        f"{metric_text(card, 'pr_auc')}.",
        caption="Test rows. Dashed: what guessing gives.",
    )


def _cell(card: ModelCard, split: str, name: str) -> str:
    value = card.metrics.get(split, {}).get(name)
    return ABSENT if value is None else number(value)


def _bounds(card: ModelCard, name: str) -> str:
    bounds = card.intervals.get(name)
    return ABSENT if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def _calibration(card: ModelCard) -> Section | None:
    if not card.calibration and not card.curves.get("calibration"):
        return None
    blocks: list[Block] = []
    if card.calibration:
        rows = tuple((name, number(value)) for name, value in card.calibration.items())
        blocks.append(Table(("figure", "test rows"), rows))
    points = card.curves.get("calibration", ())
    if points:
        told = "; ".join(f"{p[0]:.2f} → {p[1]:.2f} ({p[2]:.0f} rows)" for p in points)
        blocks.append(
            Figure(
                draw=lambda: draw_calibration(points),
                alt=f"Observed share by predicted probability: {told}.",
                caption="Predicted probabilities and what came true, by bin. On the dashed line they agree.",
            )
        )
    words = "A slope of 1 and an intercept of 0 mean that probabilities can be taken at their word."
    return Section("calibration", "Can its probabilities be believed?", (Paragraph(words), *blocks))


def _explained(card: ModelCard) -> Section:
    told = card.explanation
    if told is None:
        return Section("features", "What it goes by", (Note("The model was not explained."),))
    ranked = told.ranked[:MOST_FEATURES]
    words = ", ".join(f"{name} {value:.3g}" for name, value, _ in ranked)
    blocks: list[Block] = [
        Paragraph(told.summary),
        *bullets(told.insights, "What stands out"),
        *bullets(told.cautions, "With care"),
        Note(f"These words come from {'a language model' if told.source == 'llm' else 'a template'}."),
        Figure(
            draw=lambda: draw_importance(ranked),
            alt=f"Mean absolute SHAP values: {words}.",
            caption=f"SHAP ({told.explainer}) in {told.space} over {count(told.rows)} rows; hatched: more of the "
            f"feature lowers the prediction. Base {number(told.base_value)}; largest error of the sum "
            f"{told.max_error:.1e}.",
        ),
    ]
    if told.beeswarm:
        blocks.append(
            Figure(lambda: picture(told.beeswarm), f"SHAP values of single rows by feature: {words}.", "Beeswarm")
        )
    if told.interactions:
        pairs = tuple((a, b, number(strength), method) for a, b, strength, method in told.interactions)
        blocks.append(Table(("feature", "with", "strength", "method"), pairs, "Interactions"))
    return Section("features", "What it goes by", tuple(blocks))


def _searched(card: ModelCard) -> Section:
    search = card.search
    if search is None:
        return Section("search", "Hyperparameters", (Note("No search was made: the defaults were used."),))
    blocks: list[Block] = [Paragraph(_search_words(search))]
    blocks.append(Table(("parameter", "value"), tuple((k, str(v)) for k, v in search.best_params.items()), "Chosen"))
    if any(trial.value is not None for trial in search.trials):
        caption = "Dots: complete trials. Line: the best so far. Ticks below: pruned (grey) and failed (orange) trials."
        alt = f"{search.metric} of {len(search.trials)} trials; the best is {number(search.best_value)}."
        blocks.append(Figure(lambda: draw_history(search), alt, caption))
        if len({tuple(sorted(trial.params)) for trial in search.trials}) and search.best_params:
            alt = f"Parallel coordinates of {', '.join(search.best_params)} and {search.metric}."
            caption = "One line per complete trial; the best third in colour."
            blocks.append(Figure(lambda: draw_parallel(search), alt, caption))
    return Section("search", "Hyperparameters", tuple(blocks))


def _search_words(search: CardSearch) -> str:
    warm = f"; it began with {search.warm_starts} settings that earlier searches liked" if search.warm_starts else ""
    return (
        f"Study {search.study}: {search.completed} trials complete, {search.pruned} pruned, {search.failed} failed in "
        f"{search.seconds:.0f} s, ended by {search.stopped_because}; best {search.metric} "
        f"{number(search.best_value)} on validation rows (trial {search.best_trial}){warm}."
    )


def _segments(card: ModelCard) -> Section:
    if not card.segments:
        note = "No segment has enough test rows of each class, or the data has neither brand nor region."
        return Section("segments", "Is it as good for everyone?", (Note(note),))
    metric = next((n for n in ("recall", card.primary_metric or "") if n in card.segments[0].metrics), None)
    metric = metric or next(iter(card.segments[0].metrics), "")
    shown = [(f"{s.column} {s.value}", s.metrics[metric], s.n) for s in card.segments if metric in s.metrics]
    rows = tuple(
        (s.column, s.value, count(s.n), *(number(s.metrics[n]) if n in s.metrics else ABSENT for n in _of(card)))
        for s in card.segments
    )
    blocks: list[Block] = [Table(("segment", "value", "rows", *_of(card)), rows)]
    if shown:
        told = "; ".join(f"{name} {value:.3g}" for name, value, _ in shown)
        overall = card.metrics.get("test", {}).get(metric)
        draw = lambda: draw_segments(shown, overall, metric)  # noqa: E731
        blocks.append(Figure(draw, f"{metric} by segment: {told}.", f"{metric} by segment; dashed: all test rows."))
    gaps = tuple(f"largest difference in recall by {name}: {number(gap)}" for name, gap in card.fairness_gap.items())
    return Section("segments", "Is it as good for everyone?", (*blocks, *bullets(gaps, "Fairness gap")))


def _of(card: ModelCard) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for segment in card.segments for name in segment.metrics))


def _classes(card: ModelCard) -> Section | None:
    if card.problem == "regression":
        return None
    shares = tuple((name, percent(share)) for name, share in card.class_shares.items())
    words = "Rare classes were given more weight in training." if card.balanced else "Every row had the same weight."
    blocks: tuple[Block, ...] = (Table(("class", "share of training rows"), shares),) if shares else ()
    return Section("classes", "Balance of the classes", (Paragraph(words), *blocks))


def _data(card: ModelCard) -> Section:
    score = "not measured" if card.quality_score is None else f"{card.quality_score:.3f}"
    layers = Table(("layer", "outcome"), tuple(card.quality_layers.items()), "Layers of the gate")
    left_out = tuple(f"{name}: {why}" for name, why in card.left_out.items())
    return Section(
        "data",
        "The data it learnt from",
        (
            Paragraph(f"Quality score {score}."),
            layers,
            Paragraph(f"Features: {', '.join(card.features)}."),
            *bullets(left_out, "Not used"),
            *bullets(card.warnings, "Warnings"),
        ),
    )
