"""One upstream for the tests of this folder."""

from __future__ import annotations

from tests.kit.fixtures import upstream

__all__ = ["upstream"]
