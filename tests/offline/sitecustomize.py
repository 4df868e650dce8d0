"""Child processes of tests stay on this machine: a connection to any other is refused, and noted.

Where ``E2I_TEST_CODE_VERSION`` names a version, they run as that one: sources edited while a test runs do not turn
the process that resumes an answer into other code than the one that was killed.
"""

import os
import sys


def _offline(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        foreign = isinstance(address, tuple) and not _is_local(str(address[0]))
    elif event == "socket.getaddrinfo":
        foreign = not _is_local(str(arguments[0]))
        address = arguments[0]
    else:
        return
    if foreign:
        if note := os.environ.get("E2I_TEST_REFUSALS"):
            with open(note, "a", encoding="utf-8") as file:
                file.write(f"{event} {address}\n")
        raise PermissionError(f"a child process of a test tried to reach {address}; tests use this machine only")


def _is_local(host: str) -> bool:
    return host.startswith("127.") or host in ("", "None", "::1", "localhost", "0.0.0.0", "::", "::ffff:127.0.0.1")


sys.addaudithook(_offline)

if _version := os.environ.get("E2I_TEST_CODE_VERSION"):
    from src.app import provenance

    provenance.code_version = lambda: _version
