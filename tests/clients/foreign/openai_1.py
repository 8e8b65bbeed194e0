"""The `openai` library's first major, which many still pin. Runs in a virtual environment of its own."""

import sys
from collections.abc import Callable

import openai

assert openai.__version__.startswith("1."), openai.__version__
client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="x", max_retries=0)
MESSAGES = [{"role": "user", "content": "How?"}]


def check(name: str, work: Callable[[], bool]) -> None:
    try:
        print(f"PASS {name}" if work() else f"FAIL {name}")
    except Exception as error:
        print(f"FAIL {name}: {type(error).__name__} {str(error)[:300]!r}")


def right(text: str) -> bool:
    return "好🙂" in text


def whole(model: str) -> bool:
    return right(client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content)


def streamed(model: str) -> bool:
    chunks = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
    return right("".join(chunk.choices[0].delta.content or "" for chunk in chunks))


def refused() -> bool:
    try:
        client.chat.completions.create(model="nope", messages=MESSAGES)
    except openai.NotFoundError as error:
        return error.code == "model_not_found"
    return False


for model in ("glm", "chorus", "local"):
    check(f"chat {model}", lambda m=model: whole(m))
    check(f"chat streamed {model}", lambda m=model: streamed(m))
    check(
        f"completions {model}", lambda m=model: right(client.completions.create(model=m, prompt="How?").choices[0].text)
    )
    check(f"responses {model}", lambda m=model: right(client.responses.create(model=m, input="How?").output_text))
check("models", lambda: client.models.retrieve("chorus/pick").id == "chorus/pick")
check("unknown model", refused)
check("embeddings", lambda: len(client.embeddings.create(model="glm", input="x").data[0].embedding) > 0)
