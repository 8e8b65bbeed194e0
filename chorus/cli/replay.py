"""`chorus replay`: an earlier request, asked of another workflow, and both beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import httpx
import typer

from chorus.certificates import trusted_by
from chorus.errors import ChorusError
from chorus.texts import Text, counted, padded

_THEN: Final = Text("then", "当时")
_NOW: Final = Text("now", "现在")
_COST: Final = Text("cost {cost:.4f}", "费用 {cost:.4f}")
_CHOSEN: Final = Text("chosen {worker}", "选中 {worker}")
EXAMPLE = "chorus replay wf_0123456789abcdef01234567 --model chorus/vote"

_SECS = 3600.0
"""How long a replay may take; the workflow's own limits come before."""


def run(
    workflow_id: Annotated[str, typer.Argument(metavar="ID", help="The workflow_id of a trace.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The workflow or model to ask instead.")],
    url: Annotated[str, typer.Option("--url", help="The address of the server.")] = "http://127.0.0.1:11435",
) -> None:
    """Run the request of a stored trace again; print both results."""
    # without the proxies of the environment, of which httpx cannot use those that speak SOCKS
    with httpx.Client(
        base_url=url, timeout=_SECS, transport=httpx.HTTPTransport(verify=trusted_by(url)), trust_env=False
    ) as client:
        before = _asked(client, "GET", f"/api/v1/workflows/{workflow_id}")
        now = _asked(client, "POST", f"/api/v1/workflows/{workflow_id}/replay", {"model": model})
    for title, trace in ((_THEN, before), (_NOW, now["workflow"])):
        print(f"{padded(str(title), 5)} {_summary(trace)}")
    print("\n" + "\n\n".join(now["answers"]))


def _asked(client: httpx.Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return the JSON that the server answers.

    Raises:
        ChorusError: it does not answer, or with an error.
    """
    try:
        response = client.request(method, path, json=body)
        answer = response.json()
    except (httpx.HTTPError, ValueError) as problem:
        raise ChorusError(
            f"no Chorus answers at {client.base_url}: {str(problem) or type(problem).__name__}"
        ) from problem
    if not isinstance(answer, dict):
        raise ChorusError(f"no Chorus answers at {client.base_url}")
    if "error" in answer:
        error = answer["error"]
        raise ChorusError(error["message"] if isinstance(error, Mapping) else str(error))
    return answer


def _summary(trace: Mapping[str, Any]) -> str:
    """Return a trace in a line."""
    parts = [
        f"{trace['workflow']:<20} {trace['status']:<9}",
        f"{trace['duration_ms'] / 1000:.2f} s",
        str(counted(len(trace["workers"]), "worker", "个 worker")),
        str(counted(trace["usage"]["total_tokens"], "token", "个 token")),
    ]
    if trace["cost"] is not None:
        parts.append(str(_COST.filled(cost=trace["cost"])))
    if trace["selector"]:
        parts.append(str(_CHOSEN.filled(worker=trace["selector"].get("selected_worker"))))
    parts += [shortcut["name"] for shortcut in trace["shortcuts"]]
    return ", ".join(parts)
