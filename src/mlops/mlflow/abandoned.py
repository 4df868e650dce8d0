"""Which runs does the store call running although the process they lived in is gone, and how are they ended?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from src.mlops.mlflow.results import RunStatus
from src.mlops.mlflow.store import Client
from src.mlops.mlflow.writing import LOCAL_ID, PARENT
from src.mlops.processes import is_gone

# Tag of a run: the process it lives in, as ``this_process`` names it.
OWNER = "e2i.owner"
WHY_KILLED = {"error_type": "ProcessEnded", "error_message": "the process ended before the run did"}
_PAGE = 1000


def end_abandoned(client: Client, experiment_id: str, *, waits: Callable[[str], bool]) -> list[str]:
    """End, as KILLED and with the reason as tags, the running runs whose process is gone; returns their ids.

    Runs without a known owner, those of other machines, and those of which ``waits`` (given their id in the spool)
    says that their own end is still to be delivered, are left alone. A run ended when it last gave a sign of life:
    its start, or the start or end of a run below it.
    """
    left = [run for run in _running(client, experiment_id) if _is_abandoned(run, waits)]
    for run in left:
        for name, value in WHY_KILLED.items():
            client.set_tag(run.info.run_id, name, value)
        client.set_terminated(
            run.info.run_id, status=RunStatus.KILLED.stored, end_time=_last_sign(client, experiment_id, run)
        )
    return [str(run.info.run_id) for run in left]


def _running(client: Client, experiment_id: str) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], filter_string="attributes.status = 'RUNNING'", max_results=_PAGE, page_token=token
        )
        found += page
        if not (token := page.token):
            return found


def _is_abandoned(run: Any, waits: Callable[[str], bool]) -> bool:
    tags = run.data.tags
    return is_gone(tags.get(OWNER, "")) and not waits(tags.get(LOCAL_ID, ""))


def _last_sign(client: Client, experiment_id: str, run: Any) -> int:
    below = client.search_runs(
        [experiment_id], filter_string=f"tags.`{PARENT}` = '{run.info.run_id}'", max_results=_PAGE
    )
    times = [time for one in (run, *below) for time in (one.info.start_time, one.info.end_time)]
    return int(max(time for time in times if time is not None))
