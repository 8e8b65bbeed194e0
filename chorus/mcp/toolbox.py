"""The table of tools, and the boundary from their errors to what a client reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from chorus import __version__
from chorus.errors import ChorusError, Internal, NotFound
from chorus.mcp.ask import ask_tool
from chorus.mcp.list_models import list_models_tool
from chorus.mcp.memory_tools import memory_tools
from chorus.mcp.tool import Call, Result, Tool
from chorus.service import Chorus
from chorus.wirejson import JSON

NAME: Final = "chorus"
VERSION: Final = __version__
INSTRUCTIONS: Final = (
    "Chorus asks several language models and chooses an answer. `list_models` lists models and workflows, `ask` asks "
    "one. The memory tools keep notes on the user, which go with later questions."
)

_log = structlog.get_logger("chorus.mcp")


class Toolbox:
    """The tools of one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        tools = (*memory_tools(chorus), list_models_tool(chorus), ask_tool(chorus))
        self._tools: dict[str, Tool[Any]] = {tool.name: tool for tool in tools}

    @property
    def tools(self) -> Sequence[Tool[Any]]:
        """The tools, in the order in which clients list them."""
        return tuple(self._tools.values())

    def tool(self, name: str) -> Tool[Any]:
        """Return the tool called `name`. Raises NotFound."""
        tool = self._tools.get(name)
        if tool is None:
            raise NotFound(f"There is no tool '{name[:64]}'; there are {', '.join(self._tools)}.")
        return tool

    async def call(self, tool: Tool[Any], call: Call, arguments: JSON) -> Result | ChorusError:
        """Return the result of `tool`, or an error that a client may read.

        An unforeseen error is logged here and becomes `Internal`.
        """
        try:
            return await tool.call(call, arguments)
        except ChorusError as error:
            _log.info("tool failed", tool=tool.name, code=error.code)
            return error
        except Exception as error:
            _log.error("unexpected error", tool=tool.name, exc_info=error)
            return Internal()


def error_text(error: ChorusError, request_id: str) -> str:
    """Return the sentence that a client reads of a failed call."""
    return f"{error.message} ({error.code}, request {request_id})"
