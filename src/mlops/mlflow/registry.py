"""Which versions of a model are registered, in which stage, and how does one move?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from src.errors import ModelNotFound
from src.mlops.mlflow.configuration import StageRules
from src.mlops.mlflow.failures import StoreRefused, translated
from src.mlops.mlflow.models import ENTRY_ID, find_logged_model
from src.mlops.mlflow.promotion import Candidate, known_facts, refusals
from src.mlops.mlflow.results import Evidence, ModelStage, ModelVersion, StageTransition, Waiver
from src.mlops.mlflow.store import Client

STAGE, CAME_FROM, CHANGED_AT = "stage", "stage_from", "stage_changed_at"
APPROVED_BY, APPROVAL_REASON, PREVIOUS = "approved_by", "approval_reason", "previous_champion"
# Set where what is known of the time in shadow was said by somebody and not measured.
SHADOW_EVIDENCE = "shadow_evidence"
_ALIASED = (ModelStage.STAGING, ModelStage.SHADOW, ModelStage.PRODUCTION)
_NO_EVIDENCE = Evidence()
_FIGURES = tuple(name for name in Evidence.__dataclass_fields__ if name != "stated_by")


@dataclass(frozen=True, slots=True)
class Promotion:
    """One wish to move a version: who approves it and why, what is known beyond its run, what is waived, and when."""

    name: str
    version: int
    to: ModelStage
    archive_existing: bool = True
    approval: str | None = None
    evidence: Evidence = _NO_EVIDENCE
    waiver: Waiver | None = None
    now: datetime = datetime.min.replace(tzinfo=UTC)
    reason: str | None = None


def register(
    client: Client,
    run_id: str,
    name: str,
    model_path: str,
    *,
    tags: Mapping[str, str],
    description: str | None,
    entry_id: str,
) -> ModelVersion:
    """Register the model a run holds under ``model_path``; the same ``entry_id`` gives the same version again.

    Raises ModelNotFound.
    """
    model = find_logged_model(client, run_id, model_path)
    try:
        with translated():
            client.create_registered_model(name)
    except StoreRefused as refusal:
        if not refusal.exists:
            raise
    made = next((v for v in versions(client, name) if v.tags.get(ENTRY_ID) == entry_id), None)
    if made is not None:
        return made
    # A database store looks a model's id up at the process's default store, which need not be this one.
    remote = str(client.tracking_uri).startswith("http")
    source = f"models:/{model.model_id}" if remote else model.artifact_location
    given = {**tags, STAGE: ModelStage.DEVELOPMENT.value, ENTRY_ID: entry_id}
    stored = client.create_model_version(
        name, source, run_id=run_id, tags=given, description=description, model_id=model.model_id
    )
    return read_version(client, name, int(stored.version))


def versions(client: Client, name: str) -> list[ModelVersion]:
    """All versions of a model, the newest first; empty for an unknown name."""
    found: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{name}'", max_results=200, page_token=token)
        found += page
        if not (token := page.token):
            return sorted((_version(stored) for stored in found), key=lambda v: -v.version)


def read_version(client: Client, name: str, version: int) -> ModelVersion:
    """One version. Raises ModelNotFound."""
    try:
        with translated():
            return _version(client.get_model_version(name, str(version)))
    except StoreRefused as refusal:
        if refusal.absent:
            raise ModelNotFound(f"model '{name}' has no version {version}") from refusal
        raise


def latest_version(client: Client, name: str, stage: ModelStage | None) -> ModelVersion | None:
    """The newest version, or the one that holds the stage's alias, or the newest tagged with the stage."""
    if stage is not None and stage.alias is not None:
        return by_alias(client, name, stage.alias)
    return next((v for v in versions(client, name) if stage is None or v.stage is stage), None)


def by_alias(client: Client, name: str, alias: str) -> ModelVersion | None:
    """The version an alias of the model points to."""
    try:
        with translated():
            return _version(client.get_model_version_by_alias(name, alias))
    except StoreRefused as refusal:
        # A model without the alias is refused as an invalid parameter.
        if refusal.absent or refusal.code == "INVALID_PARAMETER_VALUE":
            return None
        raise


def location(client: Client, uri: str) -> str:
    """Where the files of ``models:/name/3``, ``models:/name@alias``, ``models:/<model id>`` or ``runs:/<id>/<name>``
    lie. Raises ModelNotFound.
    """
    scheme, _, path = uri.partition(":/")
    name, alias = path.partition("@")[0::2]
    first, _, rest = path.strip("/").partition("/")
    try:
        with translated():
            if scheme == "runs" and rest:
                return str(find_logged_model(client, first, rest).artifact_location)
            if scheme == "models" and alias:
                version = client.get_model_version_by_alias(name, alias).version
                return str(client.get_model_version_download_uri(name, version))
            if scheme == "models" and rest.isdigit():
                return str(client.get_model_version_download_uri(first, rest))
            if scheme == "models" and first and not rest:
                return str(client.get_logged_model(first).artifact_location)
    except StoreRefused as refusal:
        if refusal.absent or refusal.code == "INVALID_PARAMETER_VALUE":
            raise ModelNotFound(f"there is no model at '{uri}'") from refusal
        raise
    raise ModelNotFound(f"'{uri}' is no model's address: models:/name/3, models:/name@production or runs:/id/name")


def transition(client: Client, wish: Promotion, rules: StageRules) -> StageTransition:
    """Move a version if the rules allow it; the registry is read again before success is claimed.

    Repeating a move that was interrupted completes it. Raises ModelNotFound.
    """
    version = read_version(client, wish.name, wish.version)
    if version.stage is wish.to and version.tags.get(_entered(wish.to)) == _instant(wish.now):
        # This very move, whose answer was lost on the way.
        return _verified(client, wish, ModelStage(version.tags[CAME_FROM]))
    champion = by_alias(client, wish.name, ModelStage.PRODUCTION.value)
    candidate = _candidate(client, version, champion, wish.evidence)
    against = refusals(rules, candidate, wish.to, approval=wish.approval, waiver=wish.waiver, now=wish.now)
    if against:
        reason = "; ".join(f"{refusal.rule}: {refusal.reason}" for refusal in against)
        return StageTransition(False, version.stage, wish.to, reason)
    _record_grounds(client, wish, candidate.known)
    _make_room(client, wish, version)
    if wish.to.alias is not None:
        client.set_registered_model_alias(wish.name, wish.to.alias, str(wish.version))
    # The stage itself comes last: an interrupted move leaves the old one, from which it can be repeated.
    _tag(client, wish.name, wish.version, {CAME_FROM: version.stage.value, _entered(wish.to): _instant(wish.now)})
    _tag(client, wish.name, wish.version, {STAGE: wish.to.value})
    return _verified(client, wish, version.stage)


def expired(client: Client, name: str, rules: StageRules, now: datetime) -> list[ModelVersion]:
    """Deprecated versions that are to be archived by now."""
    limit = timedelta(days=rules.deprecated.archive_after_days)
    return [
        version
        for version in versions(client, name)
        if version.stage is ModelStage.DEPRECATED and (since := _since(version)) is not None and now - since >= limit
    ]


def _candidate(client: Client, version: ModelVersion, champion: ModelVersion | None, given: Evidence) -> Candidate:
    other = champion is not None and champion.version != version.version
    best = _facts(client, champion, _NO_EVIDENCE) if champion is not None and other else _NO_EVIDENCE
    return Candidate(
        stage=version.stage,
        since=_since(version),
        known=_facts(client, version, given),
        champion_auc=best.auc,
        champion_r2=best.r2,
        was_champion=version.tags.get(PREVIOUS) == "true",
    )


def _facts(client: Client, version: ModelVersion, given: Evidence) -> Evidence:
    data = client.get_run(version.run_id).data
    return known_facts(data.metrics, data.params, _with_recorded(given, version.tags))


def _with_recorded(given: Evidence, tags: Mapping[str, str]) -> Evidence:
    """What the caller says, and where he is silent what an earlier move recorded."""

    def either(name: str) -> float | None:
        said: float | None = getattr(given, name)
        recorded = tags.get(f"evidence.{name}")
        return float(recorded) if said is None and recorded is not None else said

    return Evidence(**{name: either(name) for name in _FIGURES}, stated_by=given.stated_by)


def _record_grounds(client: Client, wish: Promotion, known: Evidence) -> None:
    grounds = {f"evidence.{name}": f"{value:g}" for name in _FIGURES if (value := getattr(known, name)) is not None}
    if known.stated_by is not None:
        grounds[SHADOW_EVIDENCE] = f"stated by {known.stated_by}"
    if wish.approval:
        grounds[APPROVED_BY] = wish.approval.strip()
        grounds[APPROVAL_REASON] = (wish.reason or "").strip()
    if wish.waiver is not None and wish.waiver.signed:
        grounds["waived_by"] = wish.waiver.granted_by
        grounds["waived_rules"] = ", ".join(sorted(wish.waiver.rules))
        grounds["waiver_reason"] = wish.waiver.reason
    _tag(client, wish.name, wish.version, grounds)


def _make_room(client: Client, wish: Promotion, version: ModelVersion) -> None:
    """Take the version out of its own alias, and those that hold the wished stage out of theirs."""
    if version.stage.alias is not None and version.stage.alias in version.aliases:
        client.delete_registered_model_alias(wish.name, version.stage.alias)
    if version.stage is ModelStage.PRODUCTION:
        _name_previous(client, wish.name, version.version)
    if wish.to not in _ALIASED:
        return
    for other in versions(client, wish.name):
        if other.version != wish.version and (other.stage is wish.to or wish.to.value in other.aliases):
            _displace(client, wish, other)


def _displace(client: Client, wish: Promotion, other: ModelVersion) -> None:
    if wish.to is ModelStage.PRODUCTION:
        _name_previous(client, wish.name, other.version, wish.version)
        aside = ModelStage.ARCHIVED if wish.archive_existing else ModelStage.DEPRECATED
    elif wish.archive_existing:
        aside = ModelStage.ARCHIVED
    else:
        return
    when = _instant(wish.now)
    _tag(client, wish.name, other.version, {_entered(aside): when, CHANGED_AT: when, STAGE: aside.value})


def _name_previous(client: Client, name: str, version: int, moving: int | None = None) -> None:
    """One version is the previous champion: the one to roll back to. ``moving`` is doing so and keeps the mark."""
    for other in versions(client, name):
        if other.version not in (version, moving) and PREVIOUS in other.tags:
            client.delete_model_version_tag(name, str(other.version), PREVIOUS)
    _tag(client, name, version, {PREVIOUS: "true"})


def _verified(client: Client, wish: Promotion, before: ModelStage) -> StageTransition:
    after = read_version(client, wish.name, wish.version)
    holds = wish.to.alias is None or wish.to.alias in after.aliases
    if after.stage is wish.to and holds:
        _tag(client, wish.name, wish.version, {CHANGED_AT: _instant(wish.now)})
        if wish.to is ModelStage.PRODUCTION and PREVIOUS in after.tags:
            client.delete_model_version_tag(wish.name, str(wish.version), PREVIOUS)
        return StageTransition(True, before, wish.to, f"version {wish.version} moved from {before} to {wish.to}")
    _tag(client, wish.name, wish.version, {STAGE: before.value})
    return StageTransition(
        False, before, wish.to, f"another version became {wish.to} at the same moment; look again before repeating"
    )


def _tag(client: Client, name: str, version: int, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        client.set_model_version_tag(name, str(version), key, value)


def _version(stored: Any) -> ModelVersion:
    tags = dict(stored.tags)
    return ModelVersion(
        name=stored.name,
        version=int(stored.version),
        run_id=stored.run_id or "",
        source=stored.source or "",
        stage=_stage(tags),
        created_at=datetime.fromtimestamp(stored.creation_timestamp / 1000, UTC),
        description=stored.description or "",
        tags=tags,
        aliases=tuple(sorted(stored.aliases)),
    )


def _stage(tags: Mapping[str, str]) -> ModelStage:
    """A version that nobody moved, or that another tool registered, is in development."""
    return next((stage for stage in ModelStage if stage.value == tags.get(STAGE)), ModelStage.DEVELOPMENT)


def _since(version: ModelVersion) -> datetime | None:
    text = version.tags.get(_entered(version.stage))
    return datetime.fromisoformat(text) if text else None


def _entered(stage: ModelStage) -> str:
    """The tag that says since when; ``stage_changed_at`` says the same of the present stage, for people."""
    return f"entered_{stage}"


def _instant(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
