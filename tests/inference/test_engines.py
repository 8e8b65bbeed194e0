"""Real engines behind a worker and a gateway, as processes: the tokens of a model whose answer is
known, and what cancels, holds back and ends them (I1, I2)."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc
from tests.inference.engines import LLAMACPP, MLX, EngineKind
from tests.inference.tiny import HELLO, LAST_WORDS, TOOL_TEMPLATE
from tests.kit import ServerProcess
from tests.kit.worker import WorkerProcess

SENTENCE = "".join(HELLO)
ENDLESS = "sing?"
"""A prompt that is continued until the context is full."""
CONTEXT = 16384
SLOW_TOKENS = 1500
"""More than the buffers between an engine and a reader that does not read: 64 pieces, and 1 kB of
gRPC's.
"""
STOPPED_SECS = 0.1
"""Within which a cancelled answer is generated no more."""
GATEWAY = """
[[model]]
name = "glm"
provider = "grpc"
api_base = "{address}"
retries = 0
"""

pytestmark = [pytest.mark.requirement("I1"), pytest.mark.requirement("I2"), pytest.mark.slow]

KINDS = [pytest.param(LLAMACPP, id="llamacpp"), pytest.param(MLX, id="mlx-lm", marks=pytest.mark.mlx)]


class Running:
    """A worker with an engine, and a gateway in front of it."""

    def __init__(self, worker: WorkerProcess, server: ServerProcess) -> None:
        self.worker = worker
        self.server = server

    def post(self, path: str, **body: Any) -> Any:
        """Return the JSON of an answer of the gateway's."""
        reply = httpx.post(f"{self.server.base}{path}", json={"model": "glm", **body}, timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refusal(self, path: str, **body: Any) -> str:
        """Return the message with which the gateway refuses."""
        reply = httpx.post(f"{self.server.base}{path}", json={"model": "glm", **body}, timeout=60)
        assert reply.status_code == 400, reply.text
        return str(reply.json()["error"]["message"])

    def cpu_secs(self) -> float:
        """Return the processor time that the worker has used."""
        fields = Path(f"/proc/{self.worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def assert_idle(self) -> None:
        """After `STOPPED_SECS` the worker generates nothing more: whatever counts tokens, that
        takes time.
        """
        time.sleep(STOPPED_SECS)  # what the test measures
        before, tokens = self.cpu_secs(), self.worker.metric("llm_generated_tokens_total")
        time.sleep(0.5)
        assert self.cpu_secs() - before <= 0.1
        assert self.worker.metric("llm_generated_tokens_total") == tokens
        assert self.worker.metric("llm_active_requests") == 0


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> EngineKind:
    engine: EngineKind = request.param
    return engine


@pytest.fixture(scope="module")
def running(kind: EngineKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("model")
    with ExitStack() as stack:
        worker = stack.enter_context(kind.worker(folder, "--option", f"n_ctx={CONTEXT}"))
        server = stack.enter_context(ServerProcess(GATEWAY.format(address=worker.api_base)))
        yield Running(worker, server)


def stub_of(channel: grpc.Channel) -> Any:
    return inference_pb2_grpc.WorkerStub(channel)


# --- answers


def test_every_dialect_answers_with_its_tokens(running: Running) -> None:
    chat = running.post("/v1/chat/completions", messages=user("hi"))
    assert chat["choices"][0]["message"]["content"] == SENTENCE
    assert chat["choices"][0]["finish_reason"] == "stop"
    assert chat["usage"]["completion_tokens"] == len(HELLO) + 1
    assert chat["usage"]["prompt_tokens"] == 5  # <|user|> h i <|end|> <|assistant|>
    assert running.post("/v1/completions", prompt="a:")["choices"][0]["text"] == SENTENCE
    assert running.post("/v1/responses", input="hi")["output"][0]["content"][0]["text"] == SENTENCE
    assert running.post("/v1/messages", max_tokens=99, messages=user("hi"))["content"][0]["text"] == SENTENCE
    assert running.post("/api/chat", stream=False, messages=user("hi"))["message"]["content"] == SENTENCE
    raw = running.post("/api/generate", stream=False, prompt="a:", raw=True)
    assert (raw["response"], raw["done_reason"], raw["eval_count"]) == (SENTENCE, "stop", len(HELLO) + 1)


def test_a_stream_has_a_piece_for_each_token(running: Running) -> None:
    body = {"model": "glm", "stream": True, "messages": user("hi")}
    with httpx.stream("POST", f"{running.server.base}/v1/chat/completions", json=body, timeout=60) as reply:
        events = [line[6:] for line in reply.iter_lines() if line.startswith("data: {")]
    deltas = [json.loads(event)["choices"][0]["delta"].get("content") for event in events]
    assert [delta for delta in deltas if delta] == list(HELLO)


def test_length_and_stop_words_end_an_answer(running: Running) -> None:
    cut = running.post("/v1/chat/completions", messages=user("hi"), max_tokens=2)
    assert cut["choices"][0]["message"]["content"] == "Hello from"
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 2
    stopped = running.post("/v1/chat/completions", messages=user("hi"), stop=["tiny m"])
    assert stopped["choices"][0]["message"]["content"] == "Hello from the "
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert stopped["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("prompt", ["a?", "a la", "é la"])
def test_a_text_is_continued_with_its_spaces(running: Running, prompt: str) -> None:
    answer = running.post("/v1/completions", prompt=prompt, max_tokens=2)
    assert answer["choices"][0]["text"] == " la la"


def test_sampling_parameters_are_taken(running: Running) -> None:
    chat = running.post(
        "/api/chat",
        stream=False,
        messages=user("hi"),
        options={"temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.05, "repeat_penalty": 1.01, "seed": 7},
    )
    assert chat["message"]["content"] == SENTENCE


def test_a_prompt_beyond_the_context_is_refused(running: Running) -> None:
    message = running.refusal("/v1/completions", prompt="x" * (CONTEXT + 1))
    assert str(CONTEXT) in message
    assert "context" in message


def test_images_are_refused(running: Running) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    running.refusal("/v1/chat/completions", messages=[{"role": "user", "content": [image]}])


def test_eight_answers_at_once(running: Running) -> None:
    def ask(number: int) -> Any:
        return running.post("/v1/completions", prompt=f"{'x' * number}?", max_tokens=300)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert [answer["choices"][0]["text"] for answer in answers] == [" la" * 300] * 8
    assert all(answer["usage"]["completion_tokens"] == 300 for answer in answers)


# --- ends


def test_a_client_that_leaves_stops_the_generation(running: Running) -> None:
    body = {"model": "glm", "stream": True, "prompt": ENDLESS}
    with httpx.stream("POST", f"{running.server.base}/v1/completions", json=body, timeout=60) as reply:
        lines = reply.iter_lines()
        for _ in range(100):
            next(lines)
        assert running.worker.metric("llm_active_requests") == 1
    running.assert_idle()


def test_a_deadline_stops_the_generation(running: Running) -> None:
    with grpc.insecure_channel(running.worker.address) as channel:
        call = stub_of(channel).Generate(pb.GenerateRequest(prompt=ENDLESS), timeout=0.3)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    running.assert_idle()


def test_a_slow_reader_holds_back_nobody_else(running: Running) -> None:
    with grpc.insecure_channel(running.worker.address, options=[("grpc.http2.lookahead_bytes", 1024)]) as channel:
        slow = stub_of(channel).Generate(
            pb.GenerateRequest(prompt=ENDLESS, sampling=pb.Sampling(max_tokens=SLOW_TOKENS))
        )
        first = next(slow)
        answers = [running.post("/v1/completions", prompt="a:")["choices"][0]["text"] for _ in range(3)]
        assert answers == [SENTENCE] * 3
        text = first.text + "".join(message.text for message in slow)
    assert text == " la" * SLOW_TOKENS


def test_answers_end_before_a_worker_that_stops(kind: EngineKind, tmp_path: Path) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(kind.worker(tmp_path, "--max-concurrency", "4"))
        server = stack.enter_context(ServerProcess(GATEWAY.format(address=worker.api_base)))
        running = Running(worker, server)
        threads = stack.enter_context(ThreadPoolExecutor(4))
        asked = [threads.submit(running.post, "/v1/completions", prompt=ENDLESS, max_tokens=800) for _ in range(4)]
        worker.until(lambda: worker.metric("llm_active_requests") == 4)
        worker.signal(signal.SIGTERM)
        assert [answer.result()["choices"][0]["text"] for answer in asked] == [" la" * 800] * 4
        assert worker.wait() == 0


# --- templates


def test_a_template_takes_the_place_of_the_models(kind: EngineKind, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(LAST_WORDS)
    with (
        kind.worker(tmp_path, "--chat-template", str(template)) as worker,
        ServerProcess(GATEWAY.format(address=worker.api_base)) as server,
    ):
        chat = Running(worker, server).post("/v1/chat/completions", messages=user("sing?"), max_tokens=3)
    assert chat["choices"][0]["message"]["content"].split() == ["la"] * 3
    assert chat["usage"]["prompt_tokens"] == len("sing?")


def test_a_tool_is_called(kind: EngineKind, tmp_path: Path) -> None:
    words = ("<tool_call>", '\n{"name": "now", "arguments": {"zone": "utc"}}\n', "</tool_call>")
    zone = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]}
    tools = [{"type": "function", "function": {"name": "now", "description": "The time.", "parameters": zone}}]
    with (
        kind.worker(tmp_path, words=words, template=TOOL_TEMPLATE) as worker,
        ServerProcess(GATEWAY.format(address=worker.api_base)) as server,
    ):
        chat = Running(worker, server).post("/v1/chat/completions", messages=user("hi"), tools=tools)
    [choice] = chat["choices"]
    assert choice["finish_reason"] == "tool_calls"
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "now"
    assert json.loads(call["function"]["arguments"]) == {"zone": "utc"}


def test_thinking_is_kept_apart(kind: EngineKind, tmp_path: Path) -> None:
    words = ("<think>", "Hm", ".", "</think>", "Yes")
    with (
        kind.worker(tmp_path, words=words) as worker,
        ServerProcess(GATEWAY.format(address=worker.api_base)) as server,
    ):
        chat = Running(worker, server).post("/v1/chat/completions", messages=user("?"))
    message = chat["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm.", "Yes")


def test_a_model_that_embeds(tmp_path: Path) -> None:
    with (
        LLAMACPP.worker(tmp_path, "--option", "embeddings=true", "--option", "pooling=mean") as worker,
        ServerProcess(GATEWAY.format(address=worker.api_base)) as server,
        grpc.insecure_channel(worker.address) as channel,
    ):
        reply = stub_of(channel).Embed(pb.EmbedRequest(inputs=["one", "two", "one"]), timeout=20)
        message = Running(worker, server).refusal("/v1/chat/completions", messages=user("hi"))
    vectors = [list(embedding.values) for embedding in reply.embeddings]
    assert len(vectors[0]) == 64
    assert vectors[0] == pytest.approx(vectors[2])
    assert vectors[0] != pytest.approx(vectors[1])
    assert reply.usage.prompt_tokens == 9
    assert "embeds" in message
