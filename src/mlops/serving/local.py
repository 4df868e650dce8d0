"""How does an agent serve models on this machine, without knowing of processes and files?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.mlops.serving import endpoints
from src.mlops.serving.endpoints import START_TIMEOUT_S, Role, Serving
from src.mlops.serving.mirror import Observed
from src.resilience.outcomes import Unavailable


class LocalServing:
    """One process per endpoint, reached over the loopback interface. All calls block."""

    def __init__(self, *, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._start_timeout_s = start_timeout_s

    def start(
        self, package: Path, *, environment: str, role: Role = "primary", port: int | None = None
    ) -> Serving | Unavailable:
        """``start_endpoint``."""
        return endpoints.start_endpoint(
            package, environment=environment, role=role, port=port, timeout_s=self._start_timeout_s
        )

    def stop(self, name: str) -> bool:
        """``stop_endpoint``."""
        return endpoints.stop_endpoint(name)

    def running(self, model_name: str, environment: str) -> list[Serving]:
        """``running_endpoints`` of a model in an environment."""
        return endpoints.running_endpoints(model_name, environment)

    def health(self, serving: Serving) -> Mapping[str, Any] | Unavailable:
        """``ask_health``."""
        return endpoints.ask_health(serving)

    def mirror(self, primary: Serving, shadow: Serving) -> None:
        """``mirror_requests``."""
        endpoints.mirror_requests(primary, shadow)

    def observed(self, model_name: str, version: int) -> Observed | None:
        """What was seen of a version in shadow, in whichever environment most requests were copied to it."""
        return endpoints.most_seen_in_shadow(model_name, version)
