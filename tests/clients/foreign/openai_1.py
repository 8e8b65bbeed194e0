"""The `openai` library's first major, which many still pin.

Runs in a virtual environment of its own.
"""

import json
import sys
from collections.abc import Callable

import openai
from pydantic import BaseModel

assert openai.__version__.startswith("1."), openai.__version__
client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="x", max_retries=0)
MESSAGES = [{"role": "user", "content": "How?"}]
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]


class Number(BaseModel):
    """A number."""

    n: int


def check(name: str, work: Callable[[], bool]) -> None:
    try:
        print(f"PASS {name}" if work() else f"FAIL {name}")
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__} {str(error)[:300]!r}")


def right(text: str) -> bool:
    return "好🙂" in text


def whole(model: str) -> bool:
    reply = client.chat.completions.create(model=model, messages=MESSAGES)
    return right(reply.choices[0].message.content) and reply.usage.total_tokens > 0


def streamed(model: str) -> bool:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True, stream_options=options))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return right(text) and chunks[-1].usage.total_tokens > 0


def tools(model: str) -> bool:
    asked = client.chat.completions.create(model=model, messages=MESSAGES, tools=TOOLS).choices[0].message
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "rain"}
    history = [*MESSAGES, asked.model_dump(exclude_none=True), result]
    reply = client.chat.completions.create(model=model, messages=history, tools=TOOLS).choices[0].message
    arguments = json.loads(asked.tool_calls[0].function.arguments)
    return arguments == {"city": "Paris"} and reply.content == "It rains in Paris."


def schema(model: str) -> bool:
    parsed = client.chat.completions.parse(model=model, messages=MESSAGES, response_format=Number)
    return parsed.choices[0].message.parsed == Number(n=7)


def responses(model: str) -> bool:
    reply = client.responses.create(model=model, input="How?")
    parsed = client.responses.parse(model=model, input="How?", text_format=Number)
    return right(reply.output_text) and reply.usage.total_tokens > 0 and parsed.output_parsed == Number(n=7)


def left(model: str) -> bool:
    """The test looks whether the upstream saw it."""
    asked = [{"role": "user", "content": "Hang at the end" if model == "chorus" else "Hang"}]
    stream = client.chat.completions.create(model=model, messages=asked, stream=True)
    received = next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    return received == "one"


def refused(kind: type[openai.APIStatusError], model: str = "glm", content: str = "How?", **more: object) -> bool:
    try:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], **more)
    except kind as error:
        return bool(error.code and error.request_id)
    return False


for model in ("glm", "chorus", "local"):
    check(f"chat {model}", lambda m=model: whole(m))
    check(f"chat streamed {model}", lambda m=model: streamed(m))
    check(f"tools {model}", lambda m=model: tools(m))
    check(f"schema {model}", lambda m=model: schema(m))
    check(f"responses {model}", lambda m=model: responses(m))
    check(f"left {model}", lambda m=model: left(m))
    check(
        f"completions {model}", lambda m=model: right(client.completions.create(model=m, prompt="How?").choices[0].text)
    )
check("models", lambda: client.models.retrieve("chorus/pick").id == "chorus/pick")
check("unknown model", lambda: refused(openai.NotFoundError, "nope"))
check("bad request", lambda: refused(openai.BadRequestError, temperature=9))
check("rate limited", lambda: refused(openai.RateLimitError, content="Refuse with 429"))
check("all workers failed", lambda: refused(openai.InternalServerError, "chorus", "Refuse with 500"))
check("embeddings", lambda: len(client.embeddings.create(model="glm", input="x").data[0].embedding) > 0)
