"""The secret of a process, shared by those that have one key variable (A3, A4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus.errors import ConfigError
from chorus.process_secret import KEY_VARIABLE, new_secret


def test_replicas_with_one_key_variable_share_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret")
    assert new_secret() == new_secret()
    monkeypatch.delenv(KEY_VARIABLE)
    assert new_secret() != new_secret()


def test_the_key_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret")
    by_value = new_secret()
    monkeypatch.delenv(KEY_VARIABLE)
    (tmp_path / "key").write_text("a secret\n")
    monkeypatch.setenv(f"{KEY_VARIABLE}_FILE", str(tmp_path / "key"))
    assert new_secret() == by_value
    (tmp_path / "key").unlink()
    with pytest.raises(ConfigError, match=r"CHORUS_REASONING_KEY_FILE: the file .* does not exist"):
        new_secret()
