"""What is killed while it improves a prompt with slow replies? ``python -m tests.integration.gepa_child FOLDER``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from src.scripted_servers.replies import Prompt, Reply
from tests.unit.test_optimization.gepa_parts import Model, improver, scripted, task

SECONDS_PER_REPLY = 0.02


def slow(prompt: Prompt) -> Reply:
    time.sleep(SECONDS_PER_REPLY)
    return scripted()(prompt)


if __name__ == "__main__":
    asyncio.run(improver(Model(slow), Path(sys.argv[1])).improve(task()))
