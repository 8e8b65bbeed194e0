"""langchain-openai, langchain-ollama and litellm as clients. Runs in a virtual environment of its own."""

import sys
import warnings
from collections.abc import Callable

import litellm
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

BASE = sys.argv[1]
warnings.filterwarnings("ignore")


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


def check_chat(name: str, chat: ChatOpenAI | ChatOllama) -> None:
    with_tools = chat.bind_tools([weather])

    def round_trip() -> bool:
        asked = with_tools.invoke("Rain?")
        result = ToolMessage("rain", tool_call_id=asked.tool_calls[0]["id"])
        return "Paris" in with_tools.invoke([HumanMessage("Rain?"), asked, result]).text

    check(f"{name} invoke", lambda: right(chat.invoke("How?").text))
    check(f"{name} stream", lambda: right("".join(piece.text for piece in chat.stream("How?"))))
    check(f"{name} usage", lambda: chat.invoke("How?").usage_metadata["total_tokens"] > 0)
    check(f"{name} tools", lambda: with_tools.invoke("Rain?").tool_calls[0]["args"] == {"city": "Paris"})
    check(f"{name} round trip", round_trip)
    structured = chat.with_structured_output(Number, method="json_schema")
    check(f"{name} structured", lambda: structured.invoke("n?").n == 7)


def ask_litellm(model: str, base: str) -> bool:
    messages = [{"role": "user", "content": "How?"}]
    whole = litellm.completion(model=model, messages=messages, api_base=base, api_key="x")
    pieces = litellm.completion(model=model, messages=messages, api_base=base, api_key="x", stream=True)
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    return right(whole.choices[0].message.content) and right(streamed)


for model in ("glm", "chorus", "local"):
    openai = {"model": model, "base_url": f"{BASE}/v1", "api_key": "x", "max_retries": 0}
    check_chat(f"langchain-openai {model}", ChatOpenAI(**openai, stream_usage=True))
    check_chat(f"langchain-openai responses {model}", ChatOpenAI(**openai, use_responses_api=True))
    check_chat(f"langchain-ollama {model}", ChatOllama(model=model, base_url=BASE, validate_model_on_init=True))
    for prefix, base in (("openai/", f"{BASE}/v1"), ("ollama_chat/", BASE), ("anthropic/", BASE)):
        check(f"litellm {prefix}{model}", lambda p=prefix, m=model, b=base: ask_litellm(p + m, b))

vectors = OpenAIEmbeddings(model="glm", base_url=f"{BASE}/v1", api_key="x", check_embedding_ctx_length=False)
check("langchain-openai embeddings", lambda: len(vectors.embed_query("x")) > 0)
check("langchain-ollama embeddings", lambda: len(OllamaEmbeddings(model="local", base_url=BASE).embed_query("x")) > 0)
