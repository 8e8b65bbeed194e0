"""Which principals a route and a model are open to (S1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus.auth.access import Access, authorize, check_model
from chorus.auth.keys import KeyFile, KeyRing, Role
from chorus.auth.principal import LOCAL, Principal
from chorus.errors import ForbiddenModel, ForbiddenRoute, InvalidKey


def ring_with(folder: Path, role: Role, models: tuple[str, ...] = ()) -> tuple[KeyRing, str]:
    """A ring with one key, and the key's text."""
    file = KeyFile(folder / "keys.json")
    text, _ = file.create("laptop", role=role, models=models, expires=None)
    return KeyRing(file), text


@pytest.mark.parametrize("access", ["open", "client", "admin"])
def test_everything_is_open_without_keys(access: Access) -> None:
    principal = Principal("/v1/models")
    authorize(principal, access, None, None)
    check_model(principal, "any")
    assert principal.owner == LOCAL


@pytest.mark.requirement("S1")
@pytest.mark.parametrize(("role", "access", "is_open"), [("client", "client", True), ("client", "admin", False)])
@pytest.mark.parametrize("shows_key", [True, False])
def test_a_route_asks_for_a_key_of_its_role(
    tmp_path: Path, role: Role, access: Access, is_open: bool, shows_key: bool
) -> None:
    ring, text = ring_with(tmp_path, role)
    principal = Principal("/v1/models")
    if not shows_key:
        with pytest.raises(InvalidKey):
            authorize(principal, access, ring, None)
        return
    if is_open:
        authorize(principal, access, ring, text)
    else:
        with pytest.raises(ForbiddenRoute):
            authorize(principal, access, ring, text)
    assert principal.owner == ring.check(text).id


@pytest.mark.requirement("S1")
def test_a_key_that_is_bound_to_models_reaches_only_those(tmp_path: Path) -> None:
    ring, text = ring_with(tmp_path, "client", models=("glm",))
    principal = Principal("/v1/models")
    authorize(principal, "client", ring, text)
    check_model(principal, "glm")
    check_model(principal, "glm:latest")
    with pytest.raises(ForbiddenModel):
        check_model(principal, "other")
