"""Ask a demo model without waiting, and write the prompts that the engine writes."""

from __future__ import annotations

from chorus.demo import DemoUpstream
from chorus.llm.base import Call, Chunk
from chorus.types import ChatRequest, Message, Sampling


def request(*user_turns: str, sampling: Sampling | None = None) -> ChatRequest:
    return ChatRequest("demo", tuple(Message("user", turn) for turn in user_turns), sampling or Sampling())


async def chunks(model: str, *user_turns: str, sampling: Sampling | None = None, stream: bool = True) -> list[Chunk]:
    upstream = DemoUpstream("me", model=model, pace=0)
    async with upstream.open(Call(request(*user_turns, sampling=sampling), stream=stream)) as answer:
        return [chunk async for chunk in answer]


async def ask(model: str, *user_turns: str) -> str:
    return "".join(chunk.text for chunk in await chunks(model, *user_turns))


def blocks(*texts: str) -> str:
    return "\n\n".join(
        f'<candidate label="{label}" key="k{label}9">\n{text}\n</candidate key="k{label}9">'
        for label, text in zip("ABCDEFGH", texts, strict=False)
    )


async def select(question: str, *texts: str) -> str:
    return await ask("demo-judge", question, f"[Chorus selector]\nPick the best.\n\n{blocks(*texts)}\n\nReply JSON.")


async def synthesize(question: str, chosen: str, *texts: str) -> str:
    prompt = f"[Chorus synthesizer]\nWrite the answer.\n\n{blocks(*texts)}\n\nChosen: {chosen}\n"
    return await ask("demo-judge", question, prompt)
