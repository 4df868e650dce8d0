"""Which process is this, and is another one certainly gone?"""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from pathlib import Path

_PARTS = 6


def this_process() -> str:
    """Host, machine, boot, process namespace, process id and the process's start, which together no other has.

    What the system does not tell is empty. The machine's id is confidential, and appears as a hash.
    """
    return _identity(os.getpid())


def is_gone(process: str) -> bool:
    """Whether the process that ``this_process`` named has certainly ended; false where that cannot be known.

    It can be of processes of this machine: after a restart of the machine all are gone, before it those of this
    process namespace whose id is free, or belongs to a process that began at another time.
    """
    parts = process.split("/")
    if len(parts) != _PARTS or not parts[4].isdigit():
        return False
    host, machine, boot, namespace, pid, started = parts
    mine = this_process().split("/")
    if [host, machine] != mine[:2]:
        return False
    if boot != mine[2]:
        return bool(machine and boot and mine[2])
    return namespace == mine[3] and not _lives(int(pid), started)


@functools.cache
def _identity(pid: int) -> str:
    # The cache is by process id: a forked child is another process.
    machine = _text("/etc/machine-id")
    hashed = hashlib.sha256(machine.encode()).hexdigest()[:12] if machine else ""
    boot = _text("/proc/sys/kernel/random/boot_id")
    return "/".join((socket.gethostname(), hashed, boot, _namespace(), str(pid), _started(pid)))


def _lives(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return _started(pid) == started


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where there is no /proc, and for a process that is gone."""
    after_name = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    # A zombie waits for its parent and runs nothing.
    return "" if not after_name or after_name[0] == "Z" else after_name[19]


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
