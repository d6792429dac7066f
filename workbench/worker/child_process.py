"""The model child as a process: `python -m workbench.worker.child_process CONTROL LOCK PARENT PROJECT`.

`CONTROL` and `LOCK` are inherited descriptors: the socket that orders come from, and the project's lock. The process
ties its life to its parent's before it loads anything, so that a killed supervisor leaves no lock behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

PARENT_GONE = 3
"""The exit code of a child whose supervisor has gone."""
_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the system kill this process when its parent ends, and end now if that has happened already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(PARENT_GONE)


def main(arguments: list[str]) -> None:
    """Serve the supervisor that started this process."""
    control, lock, parent = (int(word) for word in arguments[:3])
    die_with(parent)
    from workbench.worker.child import serve

    serve(control, lock, Path(arguments[3]))


if __name__ == "__main__":
    main(sys.argv[1:])
