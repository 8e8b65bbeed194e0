"""The Codex CLI through a model behind the Responses API: what it sends arrives without loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import environments
from tests.kit import ServerProcess
from tests.kit.providers import ModelAnswer, ToolUse
from tests.kit.providers.responses import ResponsesProvider
from tests.kit.providers.responses_wire import custom_call, reasoning

from .recording import RecordingProxy
from .task import CONTENT, FREEFORM, SENTENCE, THOUGHTS, Desk
from .test_codex import FREEFORM_TOOL, PATCH, SHELL, run

NOT_PASSED_ON = {"client_metadata", "store", "stream", "metadata"}
"""Fields that are Chorus's own business, or that the API does not know."""
pytestmark = [pytest.mark.requirement("A3"), pytest.mark.requirement("L2")]


@pytest.fixture
def codex() -> str:
    command = environments.npm("codex")
    if command is None:
        pytest.skip("Node is not on this machine: the Codex CLI was not tried")
    return command


@pytest.fixture
def provider() -> Iterator[ResponsesProvider]:
    with ResponsesProvider.serving() as provider:
        yield provider


@pytest.fixture
def own_desk(provider: ResponsesProvider, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose Chorus has one model, at the provider."""
    config = f'[[model]]\nname = "{FREEFORM}"\nretries = 0\n{provider.settings()}'
    with ServerProcess(config) as server, RecordingProxy.in_thread(server.base) as proxy:
        desk = Desk(tmp_path, proxy, provider.upstream)
        for folder in (desk.work, desk.home):
            folder.mkdir()
        yield desk


@pytest.mark.parametrize("tool", [SHELL, FREEFORM_TOOL], ids=["shell", "freeform"])
def test_codex_writes_a_file(codex: str, own_desk: Desk, provider: ResponsesProvider, tool: dict[str, Any]) -> None:
    desk = own_desk
    call = ToolUse(tool["tool"], tool["arguments"], "call_1")
    provider.script(ModelAnswer(thinking=THOUGHTS, signature="gAAA", calls=(call,)), ModelAnswer(SENTENCE))
    if tool is FREEFORM_TOOL:
        provider.outputs = [
            [reasoning("rs_1", THOUGHTS, encrypted="gAAA"), custom_call("ctc_1", "call_1", "apply_patch", PATCH)]
        ]
    assert SENTENCE in run(codex, desk, FREEFORM)
    assert desk.written() == CONTENT
    assert not provider.refusals
    assert len(provider.requests) == len(desk.proxy.sent) == 2
    for sent, got in zip(desk.proxy.sent, provider.requests, strict=True):
        fields = {key: value for key, value in sent.json.items() if key not in NOT_PASSED_ON | {"input", "model"}}
        assert {key: got.body.get(key) for key in fields} == fields
        assert "left out" not in sent.warning.replace("client_metadata", "")
    items = provider.requests[-1].body["input"]
    assert [item["encrypted_content"] for item in items if item.get("type") == "reasoning"] == ["gAAA"]
