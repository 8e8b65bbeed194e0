"""What the scripts of agents share: `python SCRIPT BASE FOLDER MODEL...` lets each agent write a
file through each model, in a folder of its own.
"""

import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

BASE = sys.argv[1]
PREAMBLE = "I write two files."
SENTENCE = "I have written hello.txt."
INSTRUCTIONS = "You write files."

Ask = Callable[[str, bool, str], str]
"""Asks an agent: the model, whether to stream, and the question.

Returns what it said last, of a stream all its pieces.
"""

MODELS = sys.argv[3:]

_folder = Path(sys.argv[2])


def write_file(path: str, text: str) -> str:
    """Write a text file.

    Args:
        path: The name of the file.
        text: The content of the file.
    """
    (_folder / path).write_text(text, encoding="utf-8")
    return f"{path} has {len(text)} characters."


def check(agents: Mapping[str, Ask]) -> None:
    """Ask each agent, through each model, whole and streamed, and print what passes on lines of
    their own.
    """
    global _folder
    for agent, ask in agents.items():
        for model in MODELS:
            for way in ("whole", "streamed"):
                name = f"{agent} {model} {way}"
                _folder = Path(sys.argv[2]) / name
                _folder.mkdir()
                try:
                    said = ask(model, way == "streamed", f"Write hello.txt ({agent})")
                    print(
                        f"\nPASS {name}" if said.removeprefix(PREAMBLE) == SENTENCE else f"\nFAIL {name}: {said!r}",
                        flush=True,
                    )
                except Exception as error:
                    traceback.print_exc()
                    print(f"\nFAIL {name}: {type(error).__name__} {str(error)[:300]!r}", flush=True)
