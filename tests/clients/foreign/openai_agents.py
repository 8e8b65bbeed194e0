"""openai-agents' Agent writes files, in the dialects responses and chat. See `writing.py`."""

import asyncio

from agents import Agent, ModelSettings, RunConfig, Runner, function_tool
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI
from openai.types.responses import ResponseTextDeltaEvent
from openai.types.shared import Reasoning
from writing import BASE, INSTRUCTIONS, Ask, check, write_file

KEPT = ModelSettings(response_include=["reasoning.encrypted_content"], store=False, reasoning=Reasoning(summary="auto"))
ITEMS = ["reasoning", "message", *["function_call"] * 2, *["function_call_output"] * 2, "message"]
UNTRACED = RunConfig(tracing_disabled=True)


def asked(make: type[OpenAIResponsesModel] | type[OpenAIChatCompletionsModel], settings: ModelSettings) -> Ask:
    async def answer(model: str, streamed: bool, question: str) -> str:
        client = AsyncOpenAI(base_url=f"{BASE}/v1", api_key="none", max_retries=0)
        agent = Agent(
            name="writer",
            instructions=INSTRUCTIONS,
            tools=[function_tool(write_file)],
            model=make(model, client),
            model_settings=settings,
        )
        if not streamed:
            return (await Runner.run(agent, question, run_config=UNTRACED)).final_output
        stream = Runner.run_streamed(agent, question, run_config=UNTRACED)
        pieces = [event.data async for event in stream.stream_events() if event.type == "raw_response_event"]
        items = [item["type"] for item in stream.to_input_list() if "type" in item]
        if make is OpenAIResponsesModel and items != ITEMS:
            raise AssertionError(f"the items are {items}")
        return "".join(piece.delta for piece in pieces if isinstance(piece, ResponseTextDeltaEvent))

    return lambda model, streamed, question: asyncio.run(answer(model, streamed, question))


check({
    "responses": asked(OpenAIResponsesModel, KEPT),
    "chat": asked(OpenAIChatCompletionsModel, ModelSettings()),
})  # fmt: skip
