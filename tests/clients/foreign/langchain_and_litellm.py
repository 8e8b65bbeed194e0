"""langchain-openai, langchain-ollama and litellm as clients.

Runs in a virtual environment of its own.
"""

import asyncio
import json
import sys
import warnings
from collections.abc import Callable

import litellm
import ollama
import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

BASE = sys.argv[1]
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]
warnings.filterwarnings("ignore")
litellm.suppress_debug_info = True


class Number(BaseModel):
    """A number."""

    n: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


def check(name: str, work: Callable[[], bool]) -> None:
    try:
        print(f"PASS {name}" if work() else f"FAIL {name}")
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__} {str(error)[:300]!r}")


def right(text: str) -> bool:
    return "好🙂" in text


def hanging(model: str) -> str:
    """What makes the upstream stop in mid-answer; the test looks whether it saw who left."""
    return "Hang at the end" if model == "chorus" else "Hang"


def raises(work: Callable[[], object], kind: type[Exception], status: int) -> bool:
    try:
        work()
    except kind as error:
        return error.status_code == status
    return False


def check_chat(name: str, chat: ChatOpenAI | ChatOllama) -> None:
    with_tools = chat.bind_tools([weather])
    error = ollama.ResponseError if isinstance(chat, ChatOllama) else openai.APIStatusError

    def round_trip() -> bool:
        asked = with_tools.invoke("Rain?")
        result = ToolMessage("rain", tool_call_id=asked.tool_calls[0]["id"])
        return "Paris" in with_tools.invoke([HumanMessage("Rain?"), asked, result]).text

    def left() -> bool:
        stream = chat.stream(hanging(chat.model_name if isinstance(chat, ChatOpenAI) else chat.model))
        received = next(piece.text for piece in stream if piece.text)
        stream.close()
        return received == "one"

    check(f"{name} invoke", lambda: right(chat.invoke("How?").text))
    check(f"{name} stream", lambda: right("".join(piece.text for piece in chat.stream("How?"))))
    check(f"{name} usage", lambda: chat.invoke("How?").usage_metadata["total_tokens"] > 0)
    check(f"{name} tools", lambda: with_tools.invoke("Rain?").tool_calls[0]["args"] == {"city": "Paris"})
    check(f"{name} round trip", round_trip)
    structured = chat.with_structured_output(Number, method="json_schema")
    check(f"{name} structured", lambda: structured.invoke("n?").n == 7)
    check(f"{name} error", lambda: raises(lambda: chat.invoke("How?", model="nope"), error, 404))
    check(f"{name} left", left)


def check_litellm(name: str, model: str, base: str) -> None:
    def ask(content: str = "How?", model: str = model, **more: object) -> object:
        messages = [{"role": "user", "content": content}]
        return litellm.completion(
            **{"model": model, "messages": messages, "api_base": base, "api_key": "x", "max_retries": 0, **more}
        )

    def streamed() -> bool:
        return right("".join(piece.choices[0].delta.content or "" for piece in ask(stream=True)))

    def round_trip() -> bool:
        asked = ask("Rain?", tools=TOOLS).choices[0].message
        [call] = asked.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "rain"}
        reply = ask(messages=[{"role": "user", "content": "Rain?"}, asked.model_dump(), result], tools=TOOLS)
        return json.loads(call.function.arguments) == {"city": "Paris"} and "Paris" in reply.choices[0].message.content

    def structured() -> bool:
        return Number.model_validate_json(ask("n?", response_format=Number).choices[0].message.content).n == 7

    async def left() -> bool:
        messages = [{"role": "user", "content": hanging(model.partition("/")[2])}]
        pieces = await litellm.acompletion(model=model, messages=messages, api_base=base, api_key="x", stream=True)
        received = asyncio.Event()

        async def hear() -> None:
            async for piece in pieces:
                if piece.choices[0].delta.content:
                    received.set()

        hearing = asyncio.create_task(hear())
        await asyncio.wait_for(received.wait(), 5)
        hearing.cancel()
        await asyncio.wait([hearing])
        return hearing.cancelled()

    unknown = f"{model.partition('/')[0]}/nope"
    check(f"{name} whole", lambda: right(ask().choices[0].message.content))
    check(f"{name} streamed", streamed)
    check(f"{name} usage", lambda: ask().usage.total_tokens > 0)
    check(f"{name} round trip", round_trip)
    check(f"{name} structured", structured)
    check(f"{name} error", lambda: raises(lambda: ask(model=unknown), litellm.NotFoundError, 404))
    check(f"{name} left", lambda: asyncio.run(left()))


for model in ("glm", "chorus", "local"):
    openai_like = {"model": model, "base_url": f"{BASE}/v1", "api_key": "x", "max_retries": 0}
    check_chat(f"langchain-openai {model}", ChatOpenAI(**openai_like, stream_usage=True))
    check_chat(f"langchain-openai responses {model}", ChatOpenAI(**openai_like, use_responses_api=True))
    unverified = {"client_kwargs": {"verify": False}}  # reads no certificates
    check_chat(
        f"langchain-ollama {model}", ChatOllama(model=model, base_url=BASE, validate_model_on_init=True, **unverified)
    )
    for prefix, base in (("openai", f"{BASE}/v1"), ("ollama_chat", BASE), ("anthropic", BASE)):
        check_litellm(f"litellm {prefix} {model}", f"{prefix}/{model}", base)

vectors = OpenAIEmbeddings(model="glm", base_url=f"{BASE}/v1", api_key="x", check_embedding_ctx_length=False)
check("langchain-openai embeddings", lambda: len(vectors.embed_query("x")) > 0)
check("langchain-ollama embeddings", lambda: len(OllamaEmbeddings(model="local", base_url=BASE).embed_query("x")) > 0)
