"""One panel for all tests that only read it."""

import pytest

from src.synthetic import PanelDataset, generate_panel


@pytest.fixture(scope="session")
def panel_dataset() -> PanelDataset:
    return generate_panel(3_000, 42)
