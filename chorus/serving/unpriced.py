"""Budgets that a model never spends, since nobody knows its price (M6)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from chorus.auth.keys import Key, KeyFile
from chorus.auth.paths import keys_path
from chorus.config import Config
from chorus.snapshot import Snapshot


def key_file(config: Config) -> KeyFile:
    """Return the file with the keys of clients."""
    return KeyFile(Path(config.server.keys_file) if config.server.keys_file is not None else keys_path())


def unpriced_warning(snapshot: Snapshot, keys: Iterable[Key]) -> str | None:
    """Return a sentence where one of `keys` has a budget and a model has no price; None else. A
    model whose upstream reports its costs may be among those that are named."""
    budgets = [key.name for key in keys if key.budget is not None]
    models = [
        name
        for name, model in snapshot.models.items()
        if model.price is None and snapshot.entries[name].provider != "demo"
    ]
    if not budgets or not models:
        return None
    return (
        f"these models have no price, and spend no budget of a key ({', '.join(sorted(budgets))}): "
        f"{', '.join(sorted(models))}; `price` in their [[model]] sets one"
    )
