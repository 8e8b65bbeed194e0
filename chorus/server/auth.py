"""Who may do what (S1): a key at the door, a role for each route, models for each key.

A route is for administrators unless the table of routes says otherwise: one that is forgotten is closed.
"""

from __future__ import annotations

from typing import Literal

from starlette.types import Scope

from chorus.admission.keys import KeyRing
from chorus.admission.limits import Caller
from chorus.errors import ForbiddenModel, ForbiddenRoute
from chorus.redaction import presented
from chorus.server.wire import header

Access = Literal["open", "client", "admin"]
"""Open: for anybody. Client: with any key. Admin: with an administrator's."""


def authorize(scope: Scope, access: Access, ring: KeyRing | None) -> None:
    """Let a request through to a route of this `access`, and note who its caller is; everything is open where there is no
    `ring`.

    Raises:
        InvalidKey: it has no key that is good.
        ForbiddenRoute: its key is not an administrator's.
    """
    state = scope["state"]
    caller = state["caller"] = Caller(state["route"])
    text = _presented(scope)
    if text is not None:
        presented.set(text)  # no error of this request may quote it
    if ring is None or access == "open":
        return
    key = caller.key = ring.check(text)
    if access == "admin" and key.role != "admin":
        raise ForbiddenRoute("This needs an administrator's key.")


def owner_of(scope: Scope) -> str:
    """Who owns what this request makes: its key's id, `local` where there are no keys. An
    administrator's key owns what it made itself and nothing else."""
    caller: Caller = scope["state"]["caller"]
    return caller.owner


def may_ask(scope: Scope, model: str) -> bool:
    """Whether the request's key may ask for `model`, and so see that it exists. A workflow's models
    need not be allowed for it to be asked."""
    caller: Caller = scope["state"]["caller"]
    return caller.key is None or caller.key.allows(model)


def check_model(scope: Scope, model: str) -> None:
    """Raises ForbiddenModel where the request's key may not ask for `model`. To be called before
    the model is looked up: a key that is bound to some models does not learn which others exist."""
    if not may_ask(scope, model):
        raise ForbiddenModel("This key may not ask for this model.", param="model")


def _presented(scope: Scope) -> str | None:
    """The key as OpenAI's clients send it, or as Anthropic's do."""
    bearer = header(scope, b"authorization")
    if bearer is not None and bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return header(scope, b"x-api-key")
