"""openai-agents' session over OpenAI's Conversations API goes on with a conversation of Chorus.

Arguments: the server's address and a model. Prints what the model answered, and the items at the
end.
"""

import asyncio
import json
import sys

from agents import Agent, OpenAIConversationsSession, RunConfig, Runner
from agents.models.openai_responses import OpenAIResponsesModel
from openai import AsyncOpenAI


async def main(base: str, model: str) -> None:
    client = AsyncOpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
    session = OpenAIConversationsSession(openai_client=client)
    agent = Agent(name="clerk", instructions="Be brief.", model=OpenAIResponsesModel(model, client))
    untraced = RunConfig(tracing_disabled=True)
    for text in ("What is 2 + 2?", "And 3 + 4?"):
        await Runner.run(agent, text, session=session, run_config=untraced)
    items = await session.get_items()
    newest = await session.get_items(limit=1)
    removed = await session.pop_item()
    left = await session.get_items()
    await session.clear_session()
    roles = [item["role"] for item in items]
    print(json.dumps({"roles": roles, "is_newest": newest == items[-1:] == [removed], "left": len(left)}))


asyncio.run(main(*sys.argv[1:]))
