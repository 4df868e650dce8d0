"""How do the nodes reach the registry of models?"""

from __future__ import annotations

from src.agents.ml_foundation.model_deployer.nodes.registry_manager import RegistryManager
from src.agents.ml_foundation.model_deployer.services import Services


def registry_of(services: Services) -> RegistryManager:
    """The registry on the agent's connections."""
    return RegistryManager(services.connector, services.rows, services.trainings)
