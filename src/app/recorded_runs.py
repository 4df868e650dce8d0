"""Where are runs and models recorded, and does everything arrive there? The questions behind `e2i mlflow`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.mlops.mlflow.results import Health, ReplayReport
    from src.mlops.mlflow.store import ServerCommand


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """Whether the store answers, and the connector's counts."""

    health: Health
    metrics: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {"health": asdict(self.health), **self.metrics}


async def store_status() -> StoreStatus:
    """Ask the configured store one small question. Raises ConfigError."""
    from src.mlops.mlflow_connector import get_mlflow_connector

    connector = get_mlflow_connector()
    return StoreStatus(await connector.health_check(), await connector.get_metrics())


async def replay_journal() -> ReplayReport:
    """Deliver what was journalled while the store was away. Raises ConfigError and SpoolUnusable."""
    from src.mlops.mlflow_connector import get_mlflow_connector

    return await get_mlflow_connector().replay_spool()


def open_pages(*, host: str, port: int) -> ServerCommand:
    """The command that shows the store in a browser. Raises ConfigError where the store is a server already."""
    from src.mlops.mlflow_connector import get_mlflow_connector

    return get_mlflow_connector().server_command(host=host, port=port)
