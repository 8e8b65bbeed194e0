"""Where the command line keeps files when nobody says where."""

from __future__ import annotations

import os
from pathlib import Path


def keys_path() -> Path:
    """Return where the keys of clients are kept."""
    return _data_folder() / "keys.json"


def database_path() -> Path:
    """Return where the server keeps what outlives a request."""
    return _data_folder() / "chorus.db"


def _data_folder() -> Path:
    """Return what Chorus writes stands in one folder (`XDG_DATA_HOME`)."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "chorus"
