"""Who let a version through, and which rules were set aside for it? What the registry says of it today."""

from __future__ import annotations

from collections.abc import Mapping

from src.app.model_card.card import CardApproval
from src.mlops.mlflow_connector import MLflowConnector
from src.resilience.outcomes import Unavailable


async def approval_of(connector: MLflowConnector, name: str, version: str) -> CardApproval | Unavailable | None:
    """The grounds of a version's last moves; None where nobody approved anything or set a rule aside."""
    found = await connector.get_model_versions(name)
    if isinstance(found, Unavailable):
        return found
    return next((approval_from_tags(one.tags) for one in found if str(one.version) == version), None)


def approval_from_tags(tags: Mapping[str, str]) -> CardApproval | None:
    """What the tags of a version say."""
    rules = tuple(rule for rule in tags.get("waived_rules", "").split(", ") if rule)
    if not rules and not tags.get("approved_by"):
        return None
    return CardApproval(
        approved_by=tags.get("approved_by", ""),
        approval_reason=tags.get("approval_reason", ""),
        waived_rules=rules,
        waived_by=tags.get("waived_by", "") if rules else "",
        waiver_reason=tags.get("waiver_reason", "") if rules else "",
    )
