"""Haystack's Agent writes files, with its generators of the chat and the responses dialect.

See `writing.py`.
"""

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator, OpenAIResponsesChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from writing import BASE, INSTRUCTIONS, Ask, check, write_file

SETTINGS = {"api_base_url": f"{BASE}/v1", "api_key": Secret.from_token("none"), "max_retries": 0}
KEPT = {"include": ["reasoning.encrypted_content"], "store": False}


def asked(make: type[OpenAIChatGenerator] | type[OpenAIResponsesChatGenerator], **kept: object) -> Ask:
    def ask(model: str, streamed: bool, question: str) -> str:
        pieces: list[StreamingChunk] = []
        agent = Agent(
            chat_generator=make(model=model, generation_kwargs=kept, **SETTINGS),
            tools=[create_tool_from_function(write_file)],
            system_prompt=INSTRUCTIONS,
            streaming_callback=pieces.append if streamed else None,
        )
        last = agent.run(messages=[ChatMessage.from_user(question)])["last_message"].text
        return "".join(piece.content for piece in pieces) if streamed else last

    return ask


check({"chat": asked(OpenAIChatGenerator), "responses": asked(OpenAIResponsesChatGenerator, **KEPT)})
