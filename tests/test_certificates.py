"""The certificates that TLS trusts, and what is said where they cannot be read (L1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus.certificates import trusted, trusted_by
from chorus.errors import ChorusError
from tests.kit.command import process


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for path in (empty, tmp_path / "missing.pem"):
        with pytest.raises(ChorusError, match=f"the certificates in {path} cannot be read"):
            trusted(str(path))


def test_nothing_is_read_for_plain_http() -> None:
    assert trusted_by("http://127.0.0.1:1") is False


@pytest.mark.parametrize(
    "command", [["ask", "--server", "http://127.0.0.1:1", "Hi"], ["replay", "wf_1", "--model", "m"]]
)
@pytest.mark.parametrize("content", [None, ""])
def test_a_command_needs_no_certificates_for_plain_http(
    tmp_path: Path, command: list[str], content: str | None
) -> None:
    file = tmp_path / "certificates.pem"
    if content is not None:
        file.write_text(content)
    done = process(*command, home=tmp_path, SSL_CERT_FILE=str(file))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
