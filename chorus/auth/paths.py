"""Where the command line keeps files when nobody says where."""

from __future__ import annotations

import os
from pathlib import Path


def keys_path() -> Path:
    """Where the keys of clients are kept: beside what else Chorus writes (`XDG_DATA_HOME`)."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "chorus" / "keys.json"
