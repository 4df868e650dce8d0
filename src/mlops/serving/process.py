"""What does a serving process do from start to end? ``python -m src.mlops.serving.process FOLDER PACKAGE``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from src.errors import E2IError
from src.mlops.serving.endpoints import MIRROR, Serving, held, write_state
from src.mlops.serving.mirror import FileMirror
from src.mlops.serving.package import Manifest, read_package
from src.mlops.serving.server import PredictionServer, bind
from src.mlops.serving.stored_models import load_served


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 and one line of text when that is impossible."""
    asked = _parser().parse_args(arguments)
    try:
        with held(asked.folder):
            serve(asked.folder, asked.package, environment=asked.environment, role=asked.role, port=asked.port)
    except (E2IError, OSError) as error:
        _say(" ".join(str(error).split()))
        return 1
    return 0


def serve(folder: Path, package: Path, *, environment: str, role: str, port: int) -> None:
    """Load, listen, say so, and answer until SIGTERM or SIGINT.

    Raises E2IError for a package that cannot be used, OSError for a port that is taken.
    """
    _say("reading the package")
    manifest = read_package(package)
    with socket.socket() as probe:
        # Loading the model takes seconds: a port that cannot be had is found out before.
        bind(probe, port)
    mirror = FileMirror(folder / MIRROR)
    _say(f"loading version {manifest.version} of {manifest.model_name}")
    with PredictionServer(load_served(package, manifest), port=port, mirror=mirror) as server:
        _on_signal(server)
        _say(f"listening at {server.url}")
        write_state(folder, _serving(folder, manifest, server, environment, role))
        server.serve_forever(poll_interval=0.1)
    mirror.close()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _serving(folder: Path, manifest: Manifest, server: PredictionServer, environment: str, role: str) -> Serving:
    return Serving(
        name=folder.name,
        model_name=manifest.model_name,
        version=manifest.version,
        digest=manifest.digest,
        environment=environment,
        role="shadow" if role == "shadow" else "primary",
        url=server.url,
        pid=os.getpid(),
        started_at=datetime.now(UTC),
    )


def _on_signal(server: PredictionServer) -> None:
    def stop(_: int, __: FrameType | None) -> None:
        # shutdown() waits for the loop that this handler interrupts, so it runs beside it.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Serve one packaged model on this machine.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("package", type=Path)
    parser.add_argument("--environment", default="development")
    parser.add_argument("--role", default="primary", choices=("primary", "shadow"))
    parser.add_argument("--port", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
