"""Where a worker can be reached: a directory of this person's alone, and a socket in it that a project's path names."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from store.errors import BadInput, WorkbenchError

RUNTIME_VARIABLE = "WORKBENCH_RUNTIME_DIR"
"""The environment variable that puts the directory elsewhere than `/tmp/workbench-UID`."""
LONGEST_SOCKET_PATH = 107
"""Bytes that fit into the system's socket address."""


@dataclass(frozen=True)
class Address:
    """The files through which the worker of one project is reached."""

    folder: Path
    name: str

    @property
    def socket(self) -> Path:
        """The worker's socket."""
        return self.folder / f"{self.name}.sock"

    @property
    def log(self) -> Path:
        """What the worker says of itself."""
        return self.folder / f"{self.name}.log"


def address_of(project: Path) -> Address:
    """The address of the worker of the project in that directory, whether there is one or not.

    Never under $XDG_RUNTIME_DIR, which goes at the last logout. Raises `WorkbenchError` if the directory is not this
    person's alone and `BadInput` if its path is too long for a socket.
    """
    folder = Path(os.environ.get(RUNTIME_VARIABLE) or f"/tmp/workbench-{os.getuid()}")
    address = Address(folder, hashlib.sha256(os.fsencode(project.resolve())).hexdigest()[:16])
    if (size := len(os.fsencode(address.socket))) > LONGEST_SOCKET_PATH:
        fault = f"the socket's path {address.socket} has {size} bytes and may have {LONGEST_SOCKET_PATH}"
        raise BadInput(fault, f"name a shorter directory in ${RUNTIME_VARIABLE}")
    _own(folder)
    return address


def peer_is_owner(connection: socket.socket) -> bool:
    """Whether the process at the other end runs under this process's user."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.getuid())


def _own(folder: Path) -> None:
    """Make the directory if it is not there, and refuse one that somebody else could have put there or could enter."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        fault = f"{folder} cannot be made ({error.strerror})"
        raise WorkbenchError(fault, f"name another directory in ${RUNTIME_VARIABLE}") from error
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise WorkbenchError(
            f"{folder} is not a directory that is yours alone",
            f"`chmod 700` it if it is yours, else name another in ${RUNTIME_VARIABLE}",
        )
