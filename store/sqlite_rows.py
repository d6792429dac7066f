"""sqlite-utils' `Database`, imported without pandas and numpy.

It imports both, where they are installed, to know their types in rows that it makes tables of. Nothing here hands it
such rows, and the two are most of the time that the app needs to start.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_not_needed = {"pandas", "numpy"} - _modules.keys()
_modules |= dict.fromkeys(_not_needed)  # None: Python's way to say that there is no such module
try:
    from sqlite_utils import Database
finally:
    for _name in _not_needed:
        del _modules[_name]

__all__ = ["Database"]
