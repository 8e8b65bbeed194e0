"""Who may do what (S1): a role for each route, models for each key.

A route is for administrators unless the table of routes says otherwise: one that is forgotten is
closed.
"""

from __future__ import annotations

from typing import Literal

from chorus.auth.keys import KeyRing
from chorus.auth.principal import Principal
from chorus.errors import ForbiddenModel, ForbiddenRoute

Access = Literal["open", "client", "admin"]
"""Open: for anybody. Client: with any key. Admin: with an administrator's."""


def authorize(principal: Principal, access: Access, ring: KeyRing | None, text: str | None) -> None:
    """Let `principal` through to a route of this `access`, or raise; note the key `text`.

    Everything is open where there is no `ring`.

    Raises:
        InvalidKey: it has no key that is good.
        ForbiddenRoute: its key is not an administrator's.
    """
    if ring is None or access == "open":
        return
    key = principal.key = ring.check(text)
    if access == "admin" and key.role != "admin":
        raise ForbiddenRoute("This needs an administrator's key.")


def may_ask(principal: Principal, model: str) -> bool:
    """Return whether the request's key may ask for `model`, and so see that it exists.

    A key that may ask for a workflow need not be allowed its models.
    """
    return principal.key is None or principal.key.allows(model)


def check_model(principal: Principal, model: str) -> None:
    """Raises ForbiddenModel where the request's key may not ask for `model`. To be called before
    the model is looked up: a key that is bound to some models does not learn which others exist."""
    if not may_ask(principal, model):
        raise ForbiddenModel("This key may not ask for this model.", param="model")
