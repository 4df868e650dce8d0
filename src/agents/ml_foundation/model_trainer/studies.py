"""What is kept of a search, for the record and for the next one?"""

from __future__ import annotations

import dataclasses

from src.agents.ml_foundation.model_trainer.services import Services, Studies, Training
from src.agents.ml_foundation.model_trainer.state import TrainState
from src.agents.ml_foundation.model_trainer.tuning import improvements, query
from src.mlops.optuna.results import HPOSummary


async def keep_study(studies: Studies, training: Training, experiment_id: str, *, broken_off: bool = False) -> None:
    """Store the study with every finished trial, also one that found nothing; none without a finished trial."""
    optimizer, study = training.optimizer, training.study
    if optimizer is None or study is None or not await optimizer.get_optimization_history(study):
        return
    await optimizer.save_to_database(study, studies, experiment_row=experiment_id, broken_off=broken_off)


async def keep_pattern(services: Services, training: Training, state: TrainState) -> str | None:
    """Remember what was best in the search and how its warm starts did; the pattern's id, None where nothing is new.

    Of a study that goes on the warm starts were counted when it began.
    """
    from src.mlops.hpo_pattern_memory import HPOPattern, runners_up

    summary, request, memory = state.get("hpo"), state["request"], services.patterns
    if memory is None or summary is None or not summary.best_params or not _found_more(training, summary):
        return None
    asked = await query(training, request, summary.metric)
    known = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    pattern = HPOPattern(
        **known,
        direction=summary.direction,
        best_params=dict(summary.best_params),
        best_value=summary.best_value,
        runners_up=runners_up(
            training.trials, summary.direction, summary.best_params, memory.settings.remembered_trials - 1
        ),
        study_name=summary.study_name,
    )
    pattern_id = await memory.store_hpo_pattern(pattern)
    if request.resume_study is None:
        for used, improvement in improvements(summary, training.trials).items():
            await memory.record_warmstart_outcome(used, improvement)
    return pattern_id


def _found_more(training: Training, summary: HPOSummary) -> bool:
    return summary.trials.total > training.tried_before
