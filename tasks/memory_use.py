"""The most memory that this process takes from a moment on, beyond what it held then (Linux)."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_REFUSED = re.compile(
    r"can't allocate memory|Cannot allocate memory|CUDA error: out of memory|(CUBLAS|CUSOLVER)_STATUS_ALLOC_FAILED"
)
"""How torch's allocator, the system's, and the libraries of a GPU say so where the kind of error does not."""


class MemoryUse:
    """Begins to count when it is made. One at a time: the system keeps one high-water mark a process."""

    def __init__(self) -> None:
        """Give back what is free, and begin: so that the next allocation counts, wherever its pages come from."""
        trim()
        self._before_bytes: int | None = None
        with suppress(OSError):  # a system without a mark that can be set back: the peak stays unknown
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
            self._before_bytes = _status_bytes("VmRSS")
        self._device_before_bytes = 0
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()
            self._device_before_bytes = cuda.memory_allocated()

    def host_bytes(self) -> int | None:
        """The largest resident set since then, less what was resident; None where the system does not say."""
        if self._before_bytes is None:
            return None
        return max(0, _status_bytes("VmHWM") - self._before_bytes)

    def device_bytes(self) -> int | None:
        """The most that was allocated on the GPU since then, less what was; None without a GPU."""
        cuda = _cuda()
        return None if cuda is None else int(cuda.max_memory_allocated() - self._device_before_bytes)


def give_back() -> None:
    """Return memory that nothing refers to any more: to the system on the host, to the driver on a GPU."""
    gc.collect()
    trim()
    if (cuda := _cuda()) is not None:
        cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the host's or a device's allocator refused, or that is what led to it; what was given out is sound."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"MemoryError", "OutOfMemoryError"} or _REFUSED.search(str(error)):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def host_memory_bytes(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """What this process may take of the host's memory: all of it, or what its control group (a SLURM allocation, a
    container) is allowed."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            named = {"": (cgroups, "memory.max"), "memory": (cgroups / "memory", "memory.limit_in_bytes")}
            if controllers in named:
                root, file = named[controllers]
                limits += _limits(root / path.lstrip("/"), root, file)
    return min(limits)


def _limits(group: Path, root: Path, file: str) -> list[int]:
    """The limits of a control group and of those that it is in."""
    found = []
    for place in [group, *group.parents]:
        with suppress(OSError, ValueError):  # none is set here, or it says `max`
            found.append(int((place / file).read_text(encoding="ascii")))
        if place == root:
            break
    return found


def trim() -> None:
    """Return what the allocator holds and nobody uses."""
    with suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL(None).malloc_trim(0)


def _cuda() -> Any:
    """torch.cuda, if torch is loaded and there is a GPU; else None. Asked after a model was loaded."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _status_bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
