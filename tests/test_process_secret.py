"""The secret of a process, shared by those that have one key variable (A3, A4)."""

from __future__ import annotations

import pytest

from chorus.process_secret import KEY_VARIABLE, new_secret


def test_replicas_with_one_key_variable_share_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret")
    assert new_secret() == new_secret()
    monkeypatch.delenv(KEY_VARIABLE)
    assert new_secret() != new_secret()
