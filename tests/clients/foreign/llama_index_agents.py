"""llama-index's FunctionAgent writes files. See `writing.py`."""

import asyncio

from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from writing import BASE, INSTRUCTIONS, check, write_file


async def answer(model: str, streamed: bool, question: str) -> str:
    llm = OpenAILike(
        model=model,
        api_base=f"{BASE}/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
        context_window=128_000,
        max_retries=0,
    )
    agent = FunctionAgent(tools=[write_file], llm=llm, system_prompt=INSTRUCTIONS, streaming=streamed)
    running = agent.run(question)
    pieces = [event.delta async for event in running.stream_events() if isinstance(event, AgentStream)]
    return "".join(pieces) if streamed else str(await running)


check({"function": lambda model, streamed, question: asyncio.run(answer(model, streamed, question))})
