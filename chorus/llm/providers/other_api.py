"""A refusal that says that the model is behind another API of its provider. Pure."""

from __future__ import annotations

import re
from typing import Final

from chorus.errors import UpstreamStatus

_REFUSED: Final = frozenset({400, 403, 404, 405, 422})
_ONLY_RESPONSES: Final = re.compile(
    r"only (?:be )?(?:supported|available|accessible|used)[^.]{0,40}\bresponses\b"
    r"|(?:use|using|try) (?:the )?(?:/?v1)?/?responses(?: api| endpoint)?\b"
    r"|not (?:accessible|supported|available) (?:via|in|on|at|with|through)[^.]{0,30}chat[/ ]completions",
    re.IGNORECASE,
)
"""OpenAI: "This model is only supported in v1/responses and not in v1/chat/completions." GitHub:
"... is not accessible via the /chat/completions endpoint"."""
_MAX_SEARCHED: Final = 4096


def advise(error: UpstreamStatus) -> None:
    """Say in `error` which provider reaches the model, where the refusal means that another one
    does."""
    if error.upstream_status not in _REFUSED:
        return
    said = error.body[:_MAX_SEARCHED].decode("utf-8", "replace")
    if _ONLY_RESPONSES.search(said) and "v1/completions" not in said:
        error.advise('The model is reached by the Responses API: write provider = "responses" for it.')
