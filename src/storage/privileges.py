"""As which user, and with which one capability, may the database server run?

PostgreSQL refuses to run as root. Standard library only: the keeper process imports this.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

# linux/capability.h and linux/prctl.h
CAP_SETGID = 6
CAP_SETUID = 7
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522

SERVER_USERS = ("postgres", "nobody")


class PrivilegeError(Exception):
    """The server cannot be run with the rights this process has; the message is one line."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Unprivileged user of the server, and the capability it needs to reach its files, if any."""

    uid: int
    gid: int
    capability: int | None = None


def server_identity(binary: Path, resources: Iterable[Path], home: Path, cluster: Path) -> Identity | None:
    """Choose the user for the server; None when this process is not root and simply runs it itself.

    An existing ``cluster`` decides (its owner); otherwise ``postgres`` where there is such a user,
    else ``nobody``. The permissions of folders are read, never changed: where the user cannot reach
    ``binary``, ``resources`` or ``home``, the server keeps one capability to read past them.
    Raises PrivilegeError when no such capability is to be had.
    """
    if os.geteuid() != 0:
        return None
    if sys.platform == "linux" and not (_has_capability(CAP_SETUID) and _has_capability(CAP_SETGID)):
        raise PrivilegeError(
            "PostgreSQL refuses to run as root, and this process may not change its user; run E2I as an ordinary user"
        )
    uid, gid = _owner(cluster) or _unprivileged_user()
    needed = [path for path in (*resources, home) if not _readable(path, uid, gid)]
    blocked = not _executable(binary, uid, gid)
    executable = binary.stat().st_mode & stat.S_IXOTH
    if not needed and not blocked:
        return Identity(uid, gid)
    # Reading past directories is enough unless the binary itself may not be executed by others.
    candidates = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if executable else (CAP_DAC_OVERRIDE,)
    for capability in candidates:
        if _has_capability(capability):
            return Identity(uid, gid, capability)
    name = pwd.getpwuid(uid).pw_name
    path = binary if blocked else needed[0]
    raise PrivilegeError(
        f"the database server runs as user '{name}', which cannot reach {path}; "
        "run E2I as an ordinary user, or set E2I_VAR_DIR and the checkout where that user can read"
    )


def prepare_child(identity: Identity | None, death_signal: signal.Signals) -> Callable[[], None]:
    """Return a ``preexec_fn``: become ``identity`` and, on Linux, get ``death_signal`` when the parent dies."""
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    def become() -> None:
        if identity is not None:
            _drop(identity, libc)
        if libc is not None:
            # After the change of user: changing credentials clears the setting.
            _call(libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
        if os.getppid() != parent:
            os._exit(1)

    return become


def _drop(identity: Identity, libc: ctypes.CDLL | None) -> None:
    keep = identity.capability
    if keep is not None and libc is not None:
        # Changing the user then clears no capability, and access(2), by which PostgreSQL looks for its
        # own programs, honours them for a user other than root.
        _call(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0))
    os.setgroups([identity.gid])
    os.setregid(identity.gid, identity.gid)
    os.setreuid(identity.uid, identity.uid)
    if keep is not None and libc is not None:
        mask = 1 << keep
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; low, high
        _call(libc.capset(header, sets))
        _call(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, keep, 0, 0))


def _call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _owner(cluster: Path) -> tuple[int, int] | None:
    try:
        found = cluster.stat()
    except FileNotFoundError:
        return None
    return (found.st_uid, found.st_gid) if found.st_uid != 0 else None


def _unprivileged_user() -> tuple[int, int]:
    for name in SERVER_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise PrivilegeError("PostgreSQL refuses to run as root and there is no user 'postgres' or 'nobody'")


def _readable(path: Path, uid: int, gid: int) -> bool:
    bits = stat.S_IROTH | stat.S_IXOTH if path.is_dir() else stat.S_IROTH
    return _traversable(path, uid, gid) and _granted(path, uid, gid, bits)


def _executable(path: Path, uid: int, gid: int) -> bool:
    return _traversable(path, uid, gid) and _granted(path, uid, gid, stat.S_IXOTH)


def _traversable(path: Path, uid: int, gid: int) -> bool:
    return all(_granted(parent, uid, gid, stat.S_IXOTH) for parent in path.parents)


def _granted(path: Path, uid: int, gid: int, bits: int) -> bool:
    """Whether the mode of ``path`` gives ``bits``, written as for others, to this user."""
    found = path.stat()
    shift = 6 if found.st_uid == uid else 3 if found.st_gid == gid else 0
    return (found.st_mode >> shift) & bits == bits


def _has_capability(capability: int) -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return False
    permitted = next((line.split()[1] for line in status.splitlines() if line.startswith("CapPrm:")), "0")
    return bool(int(permitted, 16) >> capability & 1)
