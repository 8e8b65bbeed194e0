"""Images, audio and moderations through OpenAI's own library, reranking as Cohere's and Jina's
clients ask for it (A4)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.kit import Hang, ScriptedUpstream, ServerProcess, Status
from tests.kit.providers.relayed import AUDIO, MODEL, PIXELS, Received, relayed

pytestmark = pytest.mark.requirement("A4")
CONFIG = """
[[model]]
name = "m"
model = "{model}"
api_base = "{base}/v1"
retries = 0

[workflow-integration]
json = '''{{"workers": ["m", "m"], "synthesizer": "m"}}'''
"""


@pytest.fixture(scope="module")
def other() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as started:
        yield started


@pytest.fixture(scope="module")
def relaying(other: ScriptedUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(CONFIG.format(model=MODEL, base=other.base), env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture
def taken(other: ScriptedUpstream) -> list[Received]:
    other.forget()
    return relayed(other)


@pytest.fixture
def client(relaying: ServerProcess, taken: list[Received]) -> Iterator[OpenAI]:
    with OpenAI(base_url=relaying.api_base, api_key="x", max_retries=0) as client:
        yield client


def test_images(client: OpenAI, taken: list[Received]) -> None:
    images = client.images.generate(model="m", prompt="a cat", n=2, extra_body={"moderation": "low"})
    assert images.data is not None
    assert [image.b64_json for image in images.data] == [PIXELS, PIXELS]
    assert images.usage is not None
    assert images.usage.total_tokens == 45
    assert taken[0].fields == {"model": MODEL, "prompt": "a cat", "n": 2, "moderation": "low"}


def test_images_in_a_stream(client: OpenAI) -> None:
    events = list(client.images.generate(model="m", prompt="a cat", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert all(event.b64_json == PIXELS for event in events)


@pytest.mark.parametrize("count", [1, 2])
def test_edits(client: OpenAI, taken: list[Received], count: int) -> None:
    files = [io.BytesIO(AUDIO) for _ in range(count)]
    images = client.images.edit(model="m", image=files if count > 1 else files[0], prompt="more")
    assert images.data is not None
    assert set(taken[0].files.values()) == {AUDIO}
    assert taken[0].fields["prompt"] == "more"


def test_variations(client: OpenAI, taken: list[Received]) -> None:
    assert client.images.create_variation(model="m", image=io.BytesIO(AUDIO)).data
    assert taken[0].files == {"image": AUDIO}


def test_transcriptions(client: OpenAI, taken: list[Received], tmp_path: Path) -> None:
    path = tmp_path / "speech ä.mp3"
    path.write_bytes(AUDIO)
    with path.open("rb") as file:
        answer = client.audio.transcriptions.create(
            model="m", file=file, language="en", timestamp_granularities=["word"]
        )
    assert answer.text == "two words"
    assert taken[0].files == {"file": AUDIO}
    assert taken[0].fields["timestamp_granularities[]"] == "word"
    assert client.audio.transcriptions.create(model="m", file=("a.mp3", AUDIO), response_format="text") == "two words\n"


def test_a_large_file(client: OpenAI, taken: list[Received]) -> None:
    file = bytes(range(256)) * 40_000
    assert client.audio.transcriptions.create(model="m", file=("a.wav", file)).text == "two words"
    assert taken[0].files == {"file": file}


def test_transcriptions_in_a_stream(client: OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="m", file=("a.mp3", AUDIO), stream=True))
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]


def test_translations(client: OpenAI) -> None:
    assert client.audio.translations.create(model="m", file=("a.mp3", AUDIO)).text == "two words"


def test_speech(client: OpenAI, taken: list[Received], tmp_path: Path) -> None:
    with client.audio.speech.with_streaming_response.create(model="m", input="hello", voice="alloy") as response:
        response.stream_to_file(tmp_path / "speech.mp3")
    assert (tmp_path / "speech.mp3").read_bytes() == AUDIO
    assert client.audio.speech.create(model="m", input="hello", voice="alloy").content == AUDIO
    assert taken[0].fields == {"model": MODEL, "input": "hello", "voice": "alloy"}


def test_speech_as_events(client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="m", input="hello", voice="alloy", stream_format="sse"
    ) as response:
        text = response.read().decode()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "speech.audio.delta" in text
    assert "speech.audio.done" in text


def test_moderations(client: OpenAI) -> None:
    answer = client.moderations.create(model="m", input=["one", "two"])
    assert [result.flagged for result in answer.results] == [False, False]
    with pytest.raises(openai.BadRequestError) as missing:
        client.moderations.create(input="one")
    assert missing.value.param == "model"


async def test_the_async_client(relaying: ServerProcess, taken: list[Received]) -> None:
    async with AsyncOpenAI(base_url=relaying.api_base, api_key="x", max_retries=0) as client:
        assert (await client.audio.transcriptions.create(model="m", file=("a.mp3", AUDIO))).text == "two words"
        stream = await client.images.generate(model="m", prompt="a cat", stream=True)
        assert [event.type async for event in stream][-1] == "image_generation.completed"


@pytest.mark.parametrize(
    ("base", "path", "body"),
    [
        ("", "/v2/rerank", {"max_tokens_per_doc": 512}),  # Cohere's ClientV2
        ("", "/v1/rerank", {"max_chunks_per_doc": 3, "rank_fields": ["text"], "return_documents": True}),
        ("/v1", "/rerank", {"return_documents": True}),  # Jina's, and vLLM's
        ("", "/rerank", {}),
        ("/v1", "/v2/rerank", {}),
    ],
)
def test_reranking(
    relaying: ServerProcess, taken: list[Received], base: str, path: str, body: dict[str, object]
) -> None:
    asked = {"model": "m", "query": "q", "documents": ["a", "b", "c"], "top_n": 2, **body}
    answer = httpx.post(f"{relaying.base}{base}{path}", json=asked, verify=False).json()
    assert [(result["index"], result["relevance_score"]) for result in answer["results"]] == [(0, 0.9), (1, 0.8)]
    assert ["document" in result for result in answer["results"]] == [body.get("return_documents", False)] * 2
    assert answer["id"] == "r-1"
    assert taken[0].fields == {**asked, "model": MODEL}


def test_errors_are_the_librarys_own(client: OpenAI, other: ScriptedUpstream) -> None:
    with pytest.raises(openai.BadRequestError, match="workflow"):
        client.images.generate(model="chorus", prompt="x")
    with pytest.raises(openai.NotFoundError):
        client.audio.transcriptions.create(model="none", file=("a.mp3", AUDIO))
    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument"):
        client.moderations.create(model="m", input="x", extra_body={"surprise": 1})
    other.on("/v1/audio/speech", Status(429, {"error": {"message": "slow down"}}, {"retry-after": "3"}))
    with pytest.raises(openai.RateLimitError, match="slow down") as limited:
        client.audio.speech.create(model="m", input="x", voice="alloy")
    assert limited.value.response.headers["retry-after"] == "3"


def test_the_library_tries_again(relaying: ServerProcess, other: ScriptedUpstream, taken: list[Received]) -> None:
    path = "/v1/audio/transcriptions"
    good = other._scripts[path][0]
    other.on(path, Status(500), good)
    with OpenAI(base_url=relaying.api_base, api_key="x", max_retries=1) as client:
        assert client.audio.transcriptions.create(model="m", file=("a.mp3", b"x" * 600_000)).text == "two words"


def test_a_client_that_gives_up(client: OpenAI, other: ScriptedUpstream) -> None:
    other.on("/v1/moderations", Hang("connect"))
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).moderations.create(model="m", input="x")
    other.wait_idle_blocking()
    assert other.requests[-1].was_cancelled
