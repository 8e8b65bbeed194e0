"""openai-agents writes a file, whole and streamed: `python openai_agents.py BASE MODEL FOLDER`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agents import Agent, ModelSettings, RunConfig, Runner, function_tool, set_tracing_disabled
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI
from openai.types.shared import Reasoning

base, model, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])


@function_tool
def write_file(name: str, text: str) -> str:
    """Write a text file."""
    (folder / name).write_text(text, encoding="utf-8")
    return f"{name} has {len(text)} characters."


async def main() -> None:
    set_tracing_disabled(True)
    settings = ModelSettings(
        response_include=["reasoning.encrypted_content"], store=False, reasoning=Reasoning(summary="auto")
    )
    client = AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
    agent = Agent(name="writer", tools=[write_file], model=OpenAIResponsesModel(model, client), model_settings=settings)
    whole = await Runner.run(agent, "Write whole.txt", run_config=RunConfig(tracing_disabled=True))
    print("PASS whole" if (folder / "whole.txt").exists() else f"FAIL whole: {whole.final_output}")
    streamed = Runner.run_streamed(agent, "Write streamed.txt", run_config=RunConfig(tracing_disabled=True))
    async for _ in streamed.stream_events():
        pass
    print("PASS streamed" if (folder / "streamed.txt").exists() else f"FAIL streamed: {streamed.final_output}")
    kinds = [item["type"] for item in streamed.to_input_list() if "type" in item]
    print(
        "PASS items" if kinds == ["reasoning", "function_call", "function_call_output", "message"] else f"FAIL {kinds}"
    )


asyncio.run(main())
