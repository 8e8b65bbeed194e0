"""The program `aider` edits a file and is then asked what it did. See `writing.py`."""

import os
import sys
from pathlib import Path

from aider.main import main
from writing import BASE, check

OPTIONS = "--openai-api-key none --edit-format diff --no-pretty --no-git --yes-always"
QUIET = "--analytics-disable --no-check-update --no-show-release-notes --no-show-model-warnings --no-detect-urls"

# Prices that are there and new are not looked up in the network.
prices = Path(os.environ["HOME"]) / ".aider" / "caches" / "model_prices_and_context_window.json"
prices.parent.mkdir(parents=True)
prices.write_text('{"none": {}}', encoding="utf-8")


def ask(model: str, streamed: bool, question: str) -> str:
    os.chdir(Path(sys.argv[2]) / f"editor {model} {'streamed' if streamed else 'whole'}")
    Path("hello.txt").write_text("hello\n", encoding="utf-8")
    command = ["--model", f"openai/{model}", "--openai-api-base", f"{BASE}/v1", *OPTIONS.split(), *QUIET.split()]
    coder = main([*command, "--stream" if streamed else "--no-stream", "hello.txt"], return_coder=True)
    coder.run(with_message=question)
    return coder.run(with_message="What did you write?")


check({"editor": ask})
