"""Check that lines of prose end within 100 columns and hold no old terms; `--fix` wraps them.

Run as `python -m scripts.prose [--fix] [FILE ...]`; without names it reads every file of git.

Prose is Markdown outside of tables, code, headings and links, and in Python the docstrings and
comments. A Chinese or full-width character counts as two columns. Chinese is wrapped behind its own
punctuation only, since a renderer shows the end of a line as a space. `--fix` changes paragraphs
with a line that is too long, and no other.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tokenize
import unicodedata
from collections.abc import Iterator
from pathlib import Path

COLUMNS = 100
ROOT = Path(__file__).resolve().parents[1]
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$|^docs/REQUIREMENTS\.md$")

OLD_TERMS = re.compile(r"\b(departures?|aloud|heard|unheard|told|sung|whom|converse|narrated)\b", re.IGNORECASE)
"""Words of Chorus's earlier private language."""
HISTORY = re.compile(r"^CHANGELOG\.md$|^docs/decisions/")

# What must not be broken: an image or a link with its address, inline code, an address.
PIECE = re.compile(r"<[^>\n]+>|!?\[[^\]\n]*\]\([^)\n]*\)|`+[^`\n]*`+|\S")
STARTS_BLOCK = re.compile(r"([-+*]|\d+[.)]|#+|=+|-+)$|[>|#]")
NO_PROSE = ("|", "#", "</", "<!", "<d", "<i", "<p", "<s", "[!", "![", ">>>")
LIST_ITEM = re.compile(r"(\s*(?:[-*+]|\d+[.)])\s+)")
PRAGMA = re.compile(r"#\s*(noqa|type:|pragma|fmt:|mypy:|ruff:|!)|#\s*https?:\S+$")
SENTENCE = re.compile(r"(?<!e\.g)(?<!i\.e)(?<!etc)[.!?](?=\s+[A-Z`'\"(])|;(?=\s)")


def width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def words(text: str) -> list[tuple[str, bool]]:
    """The pieces between which a line may end, and whether a space stands before each."""
    pieces: list[tuple[str, bool]] = []
    open_word, spaced, last_end = "", False, 0
    for match in PIECE.finditer(text):
        space = match.start() > last_end
        chinese = not space and open_word != "" and open_word[-1] in "，。；：、！？）」》"
        if open_word and (space or chinese) and not (space and STARTS_BLOCK.match(match.group())):
            pieces.append((open_word, spaced))
            open_word, spaced = match.group(), space
        else:
            open_word += (" " if space else "") + match.group()
        last_end = match.end()
    return [*pieces, (open_word, spaced)] if open_word else pieces


def wrapped(text: str, first: str = "", rest: str | None = None, *, reserve: int = 0) -> list[str]:
    """Lines of `text` that start with `first`, then `rest`; the last leaves `reserve` columns."""
    rest = first if rest is None else rest
    lines = [first]
    pieces = words(text)
    for number, (piece, space) in enumerate(pieces):
        room = COLUMNS - (reserve if number == len(pieces) - 1 else 0)
        glue = " " if space and lines[-1] not in (first, rest) else ""
        if lines[-1] not in (first, rest) and width(lines[-1] + glue + piece) > room:
            lines.append(rest + piece)
        else:
            lines[-1] += glue + piece
    return lines


def too_long(line: str) -> bool:
    """Whether the line is too long and could end earlier. Columns of a drawing could not."""
    if width(line) <= COLUMNS or "   " in line.strip():
        return False
    head = LIST_ITEM.match(line)
    return len(words(line[head.end() :] if head else line.strip())) > 1


def paragraphs(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Where paragraphs and items of lists stand in Markdown: the first line, and the one behind the
    last.
    """
    fence, start = "", -1
    for number, line in enumerate(lines):
        text = line.strip()
        mark = re.match(r"(```+|~~~+)", text)
        if fence or mark:
            if start >= 0:
                yield start, number
            start = -1
            if mark and not fence:
                fence = mark.group(1)
            elif mark and text.startswith(fence) and text.strip("`~") == "":
                fence = ""
            continue
        plain = text and not text.startswith(NO_PROSE) and not _is_code(lines, number, start)
        plain = plain or _begins_entry(lines, number, start)
        if start >= 0 and (not plain or LIST_ITEM.match(line) or _begins_entry(lines, number, start)):
            yield start, number
            start = -1
        if plain and start < 0:
            start = number
        if start >= 0 and line.endswith(("  ", "\\")):  # a hard break
            yield start, number + 1
            start = -1
    if start >= 0:
        yield start, len(lines)


def _begins_entry(lines: list[str], number: int, start: int) -> bool:
    """Whether an entry below `Raises:` begins here: `    Name: when`."""
    line, above = lines[number], lines[number - 1]
    entry = re.match(r"    \w+: ", line)
    return entry is not None and (above.endswith(":") or re.match(r"    \w+: ", lines[start]) is not None)


def _is_code(lines: list[str], number: int, start: int) -> bool:
    """Whether a line that opens a paragraph is indented as code, and below no item of a list."""
    if start >= 0 or not lines[number].startswith("    ") or LIST_ITEM.match(lines[number]):
        return start < 0 and lines[number].startswith("    ") and not _below_item(lines, number)
    return not _below_item(lines, number)


def _below_item(lines: list[str], number: int) -> bool:
    for line in reversed(lines[:number]):
        if LIST_ITEM.match(line):
            return True
        if line and not line.startswith(" "):
            return False
    return False


def _reflowed(lines: list[str], *, base: str = "") -> list[str]:
    """One paragraph or item, wrapped; its indentation is that of its lines."""
    head = LIST_ITEM.match(lines[0])
    indent = re.match(r"\s*(> )?", lines[0])
    assert indent is not None
    start = head.group(1) if head else indent.group()
    rest = " " * len(start) if head else start
    if re.match(r"    \w+: ", lines[0].removeprefix(base)):
        rest = start + "    "
    if head and len(lines) > 1:  # an item whose further lines are indented otherwise keeps that
        rest = re.match(r"\s*", lines[1]).group() or rest  # type: ignore[union-attr]
    text = " ".join([lines[0][len(start) :], *(line.strip().removeprefix("> ") for line in lines[1:])])
    text = re.sub(r"(?<=[，。；：、！？）」》]) (?=[^\x00-\x7f])", "", text)
    return wrapped(text, start, rest)


def markdown(text: str) -> str:
    lines = text.split("\n")
    for start, end in reversed(list(paragraphs(lines))):
        if any(too_long(line) for line in lines[start:end]):
            lines[start:end] = _reflowed(lines[start:end])
    return "\n".join(lines)


def docstrings(source: str) -> list[ast.Expr]:
    nodes = ast.walk(ast.parse(source))
    return [
        node
        for node in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]


def comments(source: str) -> list[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type == tokenize.COMMENT and not PRAGMA.match(token.string)]


def _docstring(lines: list[str]) -> list[str]:
    """The lines of one docstring, wrapped. A first sentence that fits has a line of its own."""
    opening = re.match(r'\s*[rRuU]?"""', lines[0])
    if opening is None or not any(too_long(line) for line in lines):
        return lines
    indent = " " * (len(lines[0]) - len(lines[0].lstrip()))
    body = [indent + lines[0][opening.end() :], *lines[1:]]
    closing_alone = body[-1].strip() == '"""'
    body[-1] = body[-1].rstrip().removesuffix('"""').rstrip()
    if closing_alone:
        body.pop()
    parts = list(paragraphs([line.removeprefix(indent) for line in body]))
    for start, end in reversed(parts):
        shown = [opening.group() + body[0].strip(), *body[1:]] if start == 0 else body
        if len(body) == 1:
            shown = [shown[0] + '"""']
        if not any(too_long(line) for line in shown[start:end]):
            continue
        if start == 0:
            text = " ".join(line.strip() for line in body[start:end])
            cut = SENTENCE.search(text)
            summary = text[: cut.end()].replace(";", ".") if cut else text
            if cut and len(opening.group() + summary) <= COLUMNS and text.count("`", 0, cut.end()) % 2 == 0:
                more = text[cut.end() :].strip()
                body[start:end] = [indent + summary, "", *wrapped(more[0].upper() + more[1:], indent)]
            else:
                only = end == len(body)
                body[start:end] = wrapped(text, opening.group(), indent, reserve=3 if only else 0)
                body[0] = indent + body[0].removeprefix(opening.group())
        else:
            body[start:end] = _reflowed(body[start:end], base=indent)
    body[0] = opening.group() + body[0].strip()
    if len(body) == 1 and len(body[0]) + 3 <= COLUMNS:
        return [body[0] + '"""']
    return [*body, indent + '"""']


def python(source: str) -> str:
    lines = source.split("\n")
    spans = [(node.lineno - 1, node.end_lineno or node.lineno) for node in docstrings(source)]
    edits: list[tuple[int, int, list[str]]] = []
    for start, end in spans:
        edits.append((start, end, _docstring(lines[start:end])))
    block: list[tokenize.TokenInfo] = []
    for token in [*comments(source), None]:
        own = token is not None and not token.line[: token.start[1]].strip()
        follows = token is not None and block and token.start == (block[-1].start[0] + 1, block[-1].start[1])
        if block and not (own and follows):
            first, last = block[0].start[0] - 1, block[-1].start[0]
            if any(too_long(line) for line in lines[first:last]):
                edits.append((first, last, _comment(lines[first:last])))
            block = []
        if token is not None and own:
            block.append(token)
        elif token is not None and width(token.line.rstrip()) > COLUMNS:
            row, column = token.start
            code = lines[row - 1][:column].rstrip()
            indent = " " * (len(code) - len(code.lstrip()))
            edits.append((row - 1, row, [*_comment([indent + token.string]), code]))
    for start, end, text in sorted(edits, reverse=True):
        lines[start:end] = text
    return "\n".join(lines)


def _comment(lines: list[str]) -> list[str]:
    """A block of comments, wrapped paragraph by paragraph."""
    indent = " " * (len(lines[0]) - len(lines[0].lstrip()))
    mark = f"{indent}# "
    body = [line.strip().removeprefix("#").removeprefix(" ") for line in lines]
    for start, end in reversed(list(paragraphs(body))):
        if any(too_long(line) for line in lines[start:end]):
            head = LIST_ITEM.match(body[start])
            first = head.group(1) if head else ""
            text = " ".join([body[start][len(first) :], *(line.strip() for line in body[start + 1 : end])])
            lines[start:end] = wrapped(text, mark + first, mark + " " * len(first))
    return lines


def old_terms(path: str, text: str) -> list[tuple[int, str]]:
    """The numbers of lines of prose with an old term, and the term; history may hold them."""
    if HISTORY.search(path) or path == "scripts/prose.py" or not OLD_TERMS.search(text):
        return []
    lines = text.split("\n")
    if path.endswith(".md"):
        numbers = [n for start, end in paragraphs(lines) for n in range(start, end)]
    else:
        spans = [(node.lineno - 1, node.end_lineno or node.lineno) for node in docstrings(text)]
        numbers = [n for start, end in spans for n in range(start, end)]
        inside = set(numbers)
        found = {t.start[0]: t.string for t in comments(text)}
        lines = [found.get(n + 1, line if n in inside else "") for n, line in enumerate(lines)]
        numbers = [n for n, line in enumerate(lines) if line]
    plain = {n: re.sub(r"`[^`]*`", "", lines[n]) for n in numbers}
    return [(n + 1, match.group()) for n, line in plain.items() if (match := OLD_TERMS.search(line))]


def problems(path: str, text: str) -> list[int]:
    """The numbers of lines whose prose is too long."""
    if not any(too_long(line) for line in text.split("\n")):  # saves parsing, which takes longest
        return []
    if path.endswith(".md"):
        lines = text.split("\n")
        spans = list(paragraphs(lines))
        return [n + 1 for start, end in spans for n in range(start, end) if too_long(lines[n])]
    lines = text.split("\n")
    numbers = set()
    for node in docstrings(text):
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        indent = " " * (len(lines[first]) - len(lines[first].lstrip()))
        for start, end in paragraphs([line.removeprefix(indent) for line in lines[first:last]]):
            numbers |= {n + 1 for n in range(first + start, first + end) if too_long(lines[n])}
    numbers |= {t.start[0] for t in comments(text) if too_long(t.line.rstrip())}
    return sorted(numbers)


def files() -> list[str]:
    listed = subprocess.check_output(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md", "*.py"],  # noqa: S607
        cwd=ROOT,
        text=True,
    )
    return [name for name in listed.split() if not GENERATED.search(name) and (ROOT / name).exists()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fix", action="store_true", help="wrap what is too long")
    parser.add_argument("paths", nargs="*", help="these files only")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.paths or files():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        if arguments.fix:
            fixed = markdown(text) if name.endswith(".md") else python(text)
            if fixed != text:
                path.write_text(fixed, encoding="utf-8")
                text = fixed
        for number in problems(name, text):
            failed = True
            print(f"{name}:{number}: prose beyond {COLUMNS} columns; `python -m scripts.prose --fix` wraps it")
        for number, term in old_terms(name, text):
            failed = True
            print(f"{name}:{number}: the old term {term!r}: say what is meant in the field's own word")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
