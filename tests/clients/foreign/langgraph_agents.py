"""langgraph's agents write files, with the four chat models that speak the dialects of Chorus.

See `writing.py`.
"""

from collections.abc import Callable

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from writing import BASE, INSTRUCTIONS, Ask, check, write_file

OPENAI = {"base_url": f"{BASE}/v1", "api_key": "none", "max_retries": 0}
KEPT = {"include": ["reasoning.encrypted_content"], "store": False}
THINKING = {"type": "enabled", "budget_tokens": 2000}


def asked(make: Callable[[str], BaseChatModel]) -> Ask:
    def ask(model: str, streamed: bool, question: str) -> str:
        agent = create_agent(make(model), [tool(write_file)], system_prompt=INSTRUCTIONS)
        conversation = {"messages": [("user", question)]}
        if not streamed:
            return agent.invoke(conversation)["messages"][-1].text
        pieces = agent.stream(conversation, stream_mode="messages")
        return "".join(piece.text for piece, _ in pieces if isinstance(piece, AIMessageChunk))

    return ask


check({
    "chat": asked(lambda model: ChatOpenAI(model=model, **OPENAI)),
    "responses": asked(lambda model: ChatOpenAI(model=model, use_responses_api=True, **KEPT, **OPENAI)),
    "anthropic": asked(
        lambda model: ChatAnthropic(
            model=model, base_url=BASE, api_key="none", max_retries=0, max_tokens=4000, thinking=THINKING
        )
    ),
    "ollama": asked(
        lambda model: ChatOllama(model=model, base_url=BASE, reasoning=True, client_kwargs={"verify": False})
    ),
})  # fmt: skip
