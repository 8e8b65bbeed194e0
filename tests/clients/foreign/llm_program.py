"""The program `llm` writes files with a function of ours. See `writing.py`."""

import contextlib
import io

from llm import user_dir
from llm.cli import cli
from writing import BASE, INSTRUCTIONS, PREAMBLE, check

MODELS = "".join(
    f"- {{model_id: ours/{name}, model_name: {name}, api_base: '{BASE}/v1', supports_tools: true}}\n"
    for name in ("glm", "chorus")
)
FUNCTIONS = """
def write_file(path: str, text: str) -> str:
    \"Write a text file.\"
    import writing
    return writing.write_file(path, text)
"""


def ask(model: str, streamed: bool, question: str) -> str:
    options = ["-m", f"ours/{model}", "--key", "none", "-s", INSTRUCTIONS, "--functions", FUNCTIONS, "--hide-reasoning"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        cli(["prompt", question, *options, *([] if streamed else ["--no-stream"])], standalone_mode=False)
    return printed.getvalue().removeprefix(PREAMBLE).strip()


(user_dir() / "extra-openai-models.yaml").write_text(MODELS, encoding="utf-8")
check({"prompt": ask})
