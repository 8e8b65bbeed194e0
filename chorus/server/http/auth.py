"""Who makes a request, as its headers show it, and what of it the routes ask (S1).

`chorus.auth` decides.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from chorus.auth import access as auth
from chorus.auth.access import Access
from chorus.auth.keys import KeyRing
from chorus.auth.principal import Principal
from chorus.errors import InvalidRequest
from chorus.redaction import presented
from chorus.server.http.context import RequestContext, request_context

_MAX_USER_CHARS: Final = 256


def authorize(scope: Scope, access: Access, ring: KeyRing | None) -> None:
    """Let a request through to a route of this `access`, and note who its principal is. Everything
    is open where there is no `ring`.

    Raises:
        InvalidKey: it has no key that is good.
        ForbiddenRoute: its key is not an administrator's.
    """
    context = request_context(scope)
    user = _user(context)[:_MAX_USER_CHARS]
    principal = context.principal = Principal(context.route, user=user, trace=context.trace_parent)
    text = _presented(context)
    if text is not None:
        presented.set(text)  # no error of this request may quote it
    auth.authorize(principal, access, ring, text)


def principal_of(scope: Scope) -> Principal:
    """Return who makes this request, which `authorize` has let in."""
    principal = request_context(scope).principal
    assert principal is not None
    return principal


def owner_of(scope: Scope) -> str:
    """Return who owns what this request makes: its key's id, `local` where there are no keys. An
    administrator's key owns what it made itself and nothing else."""
    return principal_of(scope).owner


def user_of(scope: Scope) -> str | None:
    """Return the user that `X-User-ID` names, within `owner_of`; None where it names none.

    Raises:
        InvalidRequest: the name is too long.
    """
    user = _user(request_context(scope))
    if len(user) > _MAX_USER_CHARS:
        raise InvalidRequest(f"'X-User-ID' has at most {_MAX_USER_CHARS} characters.", param="X-User-ID")
    return user or None


def may_ask(scope: Scope, model: str) -> bool:
    """Return whether the request's key may ask for `model`, and so see that it exists."""
    return auth.may_ask(principal_of(scope), model)


def check_model(scope: Scope, model: str) -> None:
    """Raises ForbiddenModel where the request's key may not ask for `model`. To be called before
    the model is looked up."""
    auth.check_model(principal_of(scope), model)


def _user(context: RequestContext) -> str:
    """Return the user that `X-User-ID` names; "" where it names none."""
    given = context.headers.get(b"x-user-id")
    if given is None:
        return ""
    try:
        return given.decode().strip()
    except UnicodeDecodeError:
        return given.decode("latin-1").strip()


def _presented(context: RequestContext) -> str | None:
    """Return the key as OpenAI's clients send it, or as Anthropic's do."""
    bearer = context.header(b"authorization")
    if bearer is not None and bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return context.header(b"x-api-key")
