"""What does a stored model take and answer? Only a bundle is served: a model that brings its preprocessing along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src.mlops.mlflow.models import load_folder
from src.mlops.modelling.bundle import ModelBundle, as_bundle
from src.mlops.serving.package import MODEL, Contents, Manifest
from src.mlops.serving.server import Served


def contents_of(model_folder: Path, model_name: str, version: int, run_id: str) -> Contents:
    """What a package says of the model in ``model_folder``. Raises ContractViolation for one that is no bundle."""
    bundle = _bundle(model_folder)
    preprocessing = bundle.transforms.parameters()
    return Contents(model_name, version, run_id, bundle.features, preprocessing, _signature(bundle))


def load_served(package: Path, manifest: Manifest) -> Served:
    """The model of a package, as the server takes it. The folder was compared with the manifest before."""
    bundle = _bundle(package / MODEL)
    return Served(manifest.model_name, manifest.version, manifest.digest, manifest.features, bundle.predict)


def _signature(bundle: ModelBundle) -> dict[str, Any]:
    """Raw columns and their kinds, and what a prediction means."""
    return {
        "inputs": [{"name": name, "kind": str(kind)} for name, kind in bundle.example().dtypes.items()],
        "target": bundle.target,
        "problem_type": bundle.model.problem_type.value,
        "algorithm": bundle.model.algorithm,
        "classes": list(bundle.classes),
        "threshold": bundle.threshold,
    }


def _bundle(folder: Path) -> ModelBundle:
    return as_bundle(load_folder(str(folder), None))
