"""What is a model's package made of, and is it still what was built?"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.errors import ContractViolation, UnreadableFile

MANIFEST, MODEL, PREPROCESSING = "manifest.json", "model", "preprocessing.json"
SIGNATURE, REQUIREMENTS = "signature.json", "requirements.txt"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the package holds: ``files`` gives the SHA-256 of each by its path; ``digest`` is over all of them.

    ``features`` are the raw columns of a row, in order.
    """

    model_name: str
    version: int
    run_id: str
    features: tuple[str, ...]
    files: Mapping[str, str]
    digest: str


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a package beside the model's own folder, all of it JSON-safe."""

    model_name: str
    version: int
    run_id: str
    features: tuple[str, ...]
    preprocessing: Any
    signature: Any


def build_package(model_folder: Path, contents: Contents, destination: Path) -> Manifest:
    """Put the package into ``destination``; the same model gives the same digest, whenever and wherever it is built.

    ``destination`` is replaced as a whole, so that a reader never finds half a package. Raises UnreadableFile
    where ``model_folder`` holds no model.
    """
    if not (model_folder / "MLmodel").is_file():
        raise UnreadableFile(f"{model_folder}: no model is stored there (MLmodel is missing)")
    destination.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=destination.parent))
    try:
        _fill(building, model_folder, contents)
        manifest = _manifest(building, contents)
        _write_json(building / MANIFEST, asdict(manifest))
        building.chmod(0o755)
        _swap(building, destination)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return manifest


def read_package(folder: Path) -> Manifest:
    """The manifest, after every file was compared with it.

    Raises UnreadableFile without a manifest, ContractViolation naming the first file that is not as it was built.
    """
    try:
        said = json.loads((folder / MANIFEST).read_text("utf-8"))
        manifest = Manifest(**{**said, "features": tuple(said["features"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UnreadableFile(f"{folder}: no package of a model; build it again") from error
    there = _digests(folder)
    changed = sorted(set(there.items()) ^ set(manifest.files.items()))
    if changed or _overall(there) != manifest.digest:
        name = changed[0][0] if changed else MANIFEST
        raise ContractViolation(f"{folder}: '{name}' is not as the package was built; build it again")
    return manifest


def _fill(building: Path, model_folder: Path, contents: Contents) -> None:
    shutil.copytree(model_folder, building / MODEL)
    _write_json(building / PREPROCESSING, contents.preprocessing)
    _write_json(building / SIGNATURE, contents.signature)
    requirements = model_folder / REQUIREMENTS
    lines = requirements.read_text("utf-8").splitlines() if requirements.is_file() else []
    (building / REQUIREMENTS).write_text("".join(f"{line}\n" for line in sorted(filter(None, lines))), "utf-8")


def _manifest(building: Path, contents: Contents) -> Manifest:
    files = _digests(building)
    return Manifest(contents.model_name, contents.version, contents.run_id, contents.features, files, _overall(files))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    named = {path.relative_to(folder).as_posix(): path for path in files}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in named.items()
        if name != MANIFEST and "__pycache__" not in path.parts
    }


def _overall(files: Mapping[str, str]) -> str:
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _swap(building: Path, destination: Path) -> None:
    aside = destination.with_name(f".old-{destination.name}-{os.getpid()}")
    if destination.exists():
        destination.rename(aside)
    building.rename(destination)
    shutil.rmtree(aside, ignore_errors=True)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
