"""What worker and gateway cost: tokens per second and time to the first token through both, against
llama.cpp called directly, with one stream and with sixteen.

    make local            # once: installs the engine and the model
    .venv/bin/python -m benchmarks.engine [--model FILE] [--rounds 3] [--tokens 64] [--min-1 0.95 --min-16 0.9]

Both sides run the same file in the same minute, in turns; the one that has no turn waits and takes
no processor time. The client is part of both: threads that count pieces.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.kit import ServerProcess
from tests.kit.worker import WorkerProcess

STREAMS = 16
PROMPT = "Number {}. The history of the city begins with"
CONTEXT = 512
GATEWAY = """
[[model]]
name = "local"
provider = "grpc"
api_base = "{address}"
"""

Ask = Callable[[int], tuple[int, float]]
"""One answer: its pieces, and the seconds to the first one."""


def direct(model: str, tokens: int) -> Ask:
    """llama.cpp in this process."""
    import xllamacpp

    from chorus.inference.engines.llamacpp import _processors

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel = STREAMS
    params.n_ctx = CONTEXT * STREAMS
    params.cpuparams.n_threads = _processors()
    params.verbosity = 1
    params.cache_ram_mib = 512
    server = xllamacpp.Server(params)

    def ask(number: int) -> tuple[int, float]:
        began, first, pieces = time.perf_counter(), 0.0, 0

        def take(piece: dict[str, Any]) -> bool:
            nonlocal first, pieces
            if piece["choices"] and piece["choices"][0].get("text"):
                first = first or time.perf_counter() - began
                pieces += 1
            return False

        server.handle_completions(body(number, tokens), take)
        return pieces, first

    return ask


def through(base: str, tokens: int) -> Ask:
    """A gateway and a worker, over HTTP."""
    place = urlsplit(base)

    def ask(number: int) -> tuple[int, float]:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=300)
        began, first, pieces = time.perf_counter(), 0.0, 0
        text = json.dumps({"model": "local", **body(number, tokens)})
        connection.request("POST", "/v1/completions", text, {"content-type": "application/json"})
        reply = connection.getresponse()
        for line in reply:
            if line.startswith(b'data: {"') and b'"text":""' not in line:
                first = first or time.perf_counter() - began
                pieces += 1
        connection.close()
        return pieces, first

    return ask


def body(number: int, tokens: int) -> dict[str, Any]:
    """A request whose answer has so many `tokens`."""
    return {
        "prompt": PROMPT.format(number),
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
    }


def measured(ask: Ask, streams: int, tokens: int) -> tuple[float, float]:
    """Tokens per second of `streams` answers at once, and the median seconds to the first token."""
    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as threads:
        answers = list(threads.map(ask, range(streams)))
    secs = time.perf_counter() - began
    return streams * tokens / secs, statistics.median(first for _, first in answers)


def main() -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=".local/gemma-3-270m-q4_k_m.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--min-1", type=float, default=0.0)
    parser.add_argument("--min-16", type=float, default=0.0)
    given = parser.parse_args()
    model = str(Path(given.model).resolve())
    missed = False
    with ExitStack() as stack:
        arguments = ("--model", model, "--name", "local", "--max-concurrency", str(STREAMS))
        worker = stack.enter_context(WorkerProcess(*arguments, "--option", f"n_ctx={CONTEXT}"))
        server = stack.enter_context(ServerProcess(GATEWAY.format(address=worker.api_base)))
        sides = {"direct": direct(model, given.tokens), "through": through(server.base, given.tokens)}
        for streams, least in ((1, given.min_1), (STREAMS, given.min_16)):
            for ask in sides.values():
                measured(ask, streams, given.tokens)  # prompts are in the caches from here on
            rounds = [
                {name: measured(ask, streams, given.tokens) for name, ask in sides.items()} for _ in range(given.rounds)
            ]
            ratios = [each["through"][0] / each["direct"][0] for each in rounds]
            rates = {name: statistics.median(each[name][0] for each in rounds) for name in sides}
            firsts = {name: 1000 * statistics.median(each[name][1] for each in rounds) for name in sides}
            ratio = statistics.median(ratios)
            print(
                f"{streams:2} streams: {rates['through']:6.1f} tokens/s through both, {rates['direct']:6.1f} direct, "
                f"ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
                f"first token {firsts['through']:.0f} ms, {firsts['direct']:.0f} ms direct",
                flush=True,
            )
            missed = missed or ratio < least
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
