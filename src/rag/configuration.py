"""What does config/rag.yaml say?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from src.settings import CONFIG_DIR, ConfigModel, load_config, var_dir

RAG_FILE = CONFIG_DIR / "rag.yaml"

Share = Annotated[float, Field(ge=0, le=1)]


class EmbeddingSettings(ConfigModel):
    """Which model turns text into vectors, and how many texts at a time."""

    provider: Literal["auto", "minilm", "openai", "none"]
    openai_model: str
    openai_dims: PositiveInt
    batch_size: PositiveInt
    threads: PositiveInt


class ArmTimeouts(ConfigModel):
    """Seconds an arm may take before the others answer without it."""

    dense: PositiveFloat
    text: PositiveFloat
    graph: PositiveFloat


class RetrievalSettings(ConfigModel):
    """How the arms are asked and their ranks joined; their weights stand in the database."""

    rrf_k: PositiveInt
    arm_depth: PositiveInt
    candidates: PositiveInt
    timeout_seconds: ArmTimeouts


class CorpusSettings(ConfigModel):
    """Where the word index lies, which files are taken, and how many documents are stored together."""

    index_folder: str
    max_file_mb: PositiveFloat
    documents_per_commit: PositiveInt

    @property
    def folder(self) -> Path:
        """The index folder, below the project's own by default."""
        return Path(self.index_folder) if self.index_folder else var_dir() / "index"


class AnsweringSettings(ConfigModel):
    """How long an answer may be, how much support each of its sentences needs, and how long a model may write it."""

    max_sentences: PositiveInt
    min_support: Share
    max_context_chars: PositiveInt
    model_timeout_seconds: PositiveFloat


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


class EvaluationSettings(ConfigModel):
    """Which answers are scored, how many at a time, and what that may cost."""

    sampling_rate: Share
    drain_seconds: NonNegativeFloat
    max_concurrent: PositiveInt
    batch_size: PositiveInt
    timeout_seconds: PositiveFloat
    retry_count: Annotated[int, Field(ge=0)]
    max_dollars: Annotated[PositiveFloat | None, BeforeValidator(_none_if_empty)]
    judge_max_tokens: PositiveInt
    min_coverage: Share
    bootstrap_draws: PositiveInt
    random_state: int


class RagConfig(ConfigModel):
    """The whole file."""

    embedding: EmbeddingSettings
    retrieval: RetrievalSettings
    corpus: CorpusSettings
    answering: AnsweringSettings
    evaluation: EvaluationSettings


def load_rag_config(path: Path = RAG_FILE) -> RagConfig:
    """Read the file. Raises ConfigError for unknown keys and values out of range."""
    return load_config(path, RagConfig)
