"""pydantic-ai's Agent writes files, in the dialects chat, responses and Anthropic's.

See `writing.py`.
"""

import asyncio
from collections.abc import Callable

from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel, AnthropicModelSettings
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from writing import BASE, INSTRUCTIONS, Ask, check, write_file

KEPT = {"openai_supports_encrypted_reasoning_content": True}
THINKING = AnthropicModelSettings(anthropic_thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=4000)


def asked(make: Callable[[str], Model]) -> Ask:
    async def answer(model: str, streamed: bool, question: str) -> str:
        agent = Agent(make(model), tools=[write_file], system_prompt=INSTRUCTIONS)
        if not streamed:
            return (await agent.run(question)).output
        async with agent.run_stream(question) as stream:
            return "".join([piece async for piece in stream.stream_text(delta=True)])

    return lambda model, streamed, question: asyncio.run(answer(model, streamed, question))


def openai() -> OpenAIProvider:
    return OpenAIProvider(base_url=f"{BASE}/v1", api_key="none")


def anthropic() -> AnthropicProvider:
    return AnthropicProvider(base_url=BASE, api_key="none")


check({
    "chat": asked(lambda model: OpenAIChatModel(model, provider=openai())),
    "responses": asked(lambda model: OpenAIResponsesModel(model, provider=openai(), profile=KEPT)),
    "anthropic": asked(lambda model: AnthropicModel(model, provider=anthropic(), settings=THINKING)),
})  # fmt: skip
