"""Where is everything that evaluates answers? One import for callers outside."""

from __future__ import annotations

from src.rag.evaluation_datasets import (
    create_evaluation_sample,
    get_adversarial_dataset,
    get_default_evaluation_dataset,
    load_evaluation_dataset,
    save_evaluation_dataset,
)
from src.rag.evaluation_pipeline import RAGEvaluationPipeline, quick_evaluate
from src.rag.evaluator import RAGASEvaluator
from src.rag.judging.configuration import EvaluationConfig
from src.rag.samples import EvaluationSample, dataset_hash
from src.rag.scores import DEFAULT_THRESHOLDS, EvaluationReport, EvaluationResult
from src.rag.statistics import compare_runs

__all__ = [
    "DEFAULT_THRESHOLDS",
    "EvaluationConfig",
    "EvaluationReport",
    "EvaluationResult",
    "EvaluationSample",
    "RAGASEvaluator",
    "RAGEvaluationPipeline",
    "compare_runs",
    "create_evaluation_sample",
    "dataset_hash",
    "get_adversarial_dataset",
    "get_default_evaluation_dataset",
    "load_evaluation_dataset",
    "quick_evaluate",
    "save_evaluation_dataset",
]
