"""What stages send of the client's request."""

import pytest

from chorus.llm.fake import FakeUpstream, Says
from chorus.types import ChatRequest, Message, ToolCall, Tools
from chorus.workflow.model import Model
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import judging, merging

TOOLS = Tools([{"type": "function", "function": {"name": "write_file", "parameters": {}}}])
ASKED = Message("user", "Write it.")
CALLED = Message("assistant", "", tool_calls=(ToolCall("c1", "write_file", "{}"),))
RESULT = Message("tool", "done", tool_call_id="c1")
OURS = Message("user", "Judge.")
LEAF = Leaf("judge", "judge")
MODEL = Model("judge", FakeUpstream(Says()))


@pytest.mark.requirement("W10")
@pytest.mark.parametrize("history", [(ASKED, CALLED, RESULT), (ASKED, CALLED), (ASKED, RESULT)])
def test_a_history_with_calls_comes_with_its_tools_and_none_may_be_called(history: tuple[Message, ...]) -> None:
    request = ChatRequest("chorus", history, tools=TOOLS, tool_choice="required", parallel_tool_calls=True)
    for sent in (judging(request, LEAF, MODEL, 0.2, OURS, None), merging(request, LEAF, 0.7, OURS)):
        assert sent.tools == TOOLS
        assert sent.tool_choice == "none"
        assert sent.parallel_tool_calls is None


@pytest.mark.requirement("W10")
def test_without_calls_in_the_history_judges_get_no_tools() -> None:
    request = ChatRequest("chorus", (ASKED,), tools=TOOLS, tool_choice="required")
    for sent in (judging(request, LEAF, MODEL, 0.2, OURS, None), merging(request, LEAF, 0.7, OURS)):
        assert sent.tools == Tools()
        assert sent.tool_choice is None
