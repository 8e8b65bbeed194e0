"""The module for zstd: Python's own (3.14), or the same for older ones.

It is imported when it is needed first: a server at rest does without its 1.7 MB.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from typing import Any


@cache
def zstd() -> Any:
    """Return the module. Raises ImportError where Python was built without it."""
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
