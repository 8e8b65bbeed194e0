"""`chorus keys`: the keys with which clients get in (S1)."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from chorus.auth.budget import KeyBudget, Per
from chorus.auth.keys import KeyFile
from chorus.auth.paths import keys_path
from chorus.errors import ChorusError
from chorus.rate import rate
from chorus.texts import Text, padded

_KEEP: Final = Text("This is key {id}. Save it: it is shown only this once.", "密钥 {id}：请保存，只显示这一次。")
_CALLS: Final = Text("{limit} calls", "{limit} 次调用")
_TOKENS: Final = Text("{limit} tokens", "{limit} 个 token")
_ALL: Final = Text("all models", "全部模型")
_ENDS: Final = Text("ends {when}", "{when} 到期")
_NEVER: Final = Text("ends never", "永不过期")
_FAR: Final = Text("ends after 9999", "9999 年之后到期")
EXAMPLE = "chorus keys create laptop --models chorus,glm --requests 60/minute --expires 90d"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Make, list and revoke client keys.",
    epilog=f"Example:  {EXAMPLE}",
)

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
FileOption = Annotated[
    Path | None, typer.Option("--file", help="Where the keys are kept; the server's own place otherwise.")
]


@app.command("create", epilog=f"Example:  {EXAMPLE}")
def create(
    name: Annotated[str, typer.Argument(help="The name of the client.")],
    models: Annotated[
        str, typer.Option(help="The models and workflows that it may ask for, by commas; all otherwise.")
    ] = "",
    expires: Annotated[str, typer.Option(help="How long it is valid: 12h, 90d, 4w; without an end otherwise.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="It may also read traces, metrics and upstreams.")] = False,
    requests: Annotated[
        str, typer.Option(help="How many model calls: 60/minute, or several by commas: 5/second,1000/day.")
    ] = "",
    tokens: Annotated[str, typer.Option(help="How many tokens: 100000/minute.")] = "",
    budget: Annotated[
        float | None, typer.Option(help="What it may cost, in the currency of the prices; unbounded otherwise.")
    ] = None,
    per: Annotated[
        Literal["day", "week", "month"] | None,
        typer.Option(help="The period of the budget, from 00:00 UTC, weeks from Monday; a month otherwise."),
    ] = None,
    file: FileOption = None,
) -> None:
    """Make a key. It is printed once and kept nowhere."""
    ends = time.time() + _seconds(expires) if expires else None
    text, key = _keys(file).create(
        name,
        role="admin" if admin else "client",
        models=_listed(models),
        expires=ends,
        requests=_rates(requests, "--requests"),
        tokens=_rates(tokens, "--tokens"),
        budget=_budget(budget, per),
    )
    print(text)
    typer.echo(str(_KEEP.filled(id=key.id)), err=True)


@app.command("list")
def list_(file: FileOption = None) -> None:
    """List the keys, without the keys themselves."""
    for key in _keys(file).read():
        calls = [str(_CALLS.filled(limit=limit)) for limit in key.requests]
        tokens = [str(_TOKENS.filled(limit=limit)) for limit in key.tokens]
        budgets = [str(key.budget)] if key.budget is not None else []
        scope = ", ".join([*(key.models or [str(_ALL)]), *calls, *tokens, *budgets])
        ends = padded(str(_ends(key.expires)), 21)
        print(_printable(f"{key.id}  {key.role:<6}  {padded(key.name, 20)}  {ends}  {scope}"))


@app.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The id that `chorus keys list` shows.")], file: FileOption = None
) -> None:
    """Revoke a key; a running server knows within a second."""
    if not _keys(file).revoke(id):
        raise ChorusError(f"there is no key {id}")


def _printable(text: str) -> str:
    """Return `text` with control characters and invisible characters written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _ends(expires: float | None) -> Text:
    """Return when a key ends, from a time in seconds since 1970; None: never."""
    if expires is None:
        return _NEVER
    try:
        return _ENDS.filled(when=datetime.fromtimestamp(expires).isoformat(" ", "minutes"))
    except (OverflowError, ValueError, OSError):
        return _FAR


def _keys(file: Path | None) -> KeyFile:
    return KeyFile(file or keys_path())


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _budget(amount: float | None, per: Per | None) -> KeyBudget | None:
    """Return the budget of these options."""
    if amount is None:
        if per is not None:
            raise typer.BadParameter("it is the period of a --budget", param_hint="--per")
        return None
    if not 0 < amount < math.inf:
        raise typer.BadParameter("expected an amount above 0", param_hint="--budget")
    return KeyBudget(amount, per or "month")


def _rates(text: str, option: str) -> list[str]:
    """Return the rates in `text`, each written as the configuration writes it."""
    try:
        return [str(rate(item)) for item in _listed(text)]
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint=option) from None


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)([hdw])", text)
    if match is None:
        raise typer.BadParameter("expected a time such as 12h, 90d or 4w", param_hint="--expires")
    return int(match[1]) * _UNITS[match[2]]
