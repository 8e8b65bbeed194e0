"""Markdown as safe HTML. Pure; bounded by a length and a deadline.

Raw HTML is escaped, links go to `http`, `https` and `mailto` only, no image is loaded.

Markdown takes quadratic time where somebody wants it to, so that every rule of the parser is
preceded by one that looks at the clock. What is too long, or takes too long, comes back as plain
text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from html import escape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

MAX_CHARS: Final = 256 * 1024
"""Of a text that is rendered; a longer one comes back as plain text."""
_SECS: Final = 2.0
_HIGHLIGHTED_CHARS: Final = 16 * 1024
"""Code of one text that is coloured: a regular expression of a lexer cannot be interrupted."""
_LANGUAGES: Final = frozenset(
    [
        "bash",
        "c",
        "cpp",
        "css",
        "diff",
        "go",
        "html",
        "java",
        "javascript",
        "js",
        "json",
        "kotlin",
        "php",
        "py",
        "python",
        "python3",
        "ruby",
        "rust",
        "scala",
        "sh",
        "shell",
        "sql",
        "swift",
        "toml",
        "ts",
        "typescript",
        "xml",
        "yaml",
        "yml",
    ]
)
_LINK: Final = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20]+\Z", re.IGNORECASE)
_BARE_NUMBER: Final = ["ordered_list_open", "list_item_open", "list_item_close", "ordered_list_close"]
_FORMATTER: Final = HtmlFormatter(nowrap=True, classprefix="hl-")


class _TooLong(Exception):
    """The deadline has passed."""


def render(text: str) -> tuple[str, bool]:
    """Return `text` as HTML, and whether it was read as Markdown; else it is one `pre` element."""
    if len(text) <= MAX_CHARS:
        try:
            return _Renderer(time.monotonic() + _SECS).html(text), True
        except (_TooLong, RecursionError):
            pass
    return f"<pre>{escape(text)}</pre>\n", False


class _Renderer:
    """Renders one text."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._code_left = _HIGHLIGHTED_CHARS
        options = {"html": False, "maxNesting": 20, "highlight": self._highlighted}
        markdown = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
        markdown.validateLink = _is_safe  # type: ignore[method-assign]
        rulers: tuple[Any, ...] = (markdown.block.ruler, markdown.inline.ruler, markdown.core.ruler)
        for ruler in rulers:
            ruler.before(ruler.__rules__[0].name, "deadline", self._check)
        markdown.core.ruler.after("block", "bare_numbers", _keep_bare_numbers)
        markdown.add_render_rule("image", _image)
        markdown.add_render_rule("link_open", _link_open)
        markdown.add_render_rule("th_open", _cell_open)
        markdown.add_render_rule("td_open", _cell_open)
        self._markdown = markdown

    def html(self, text: str) -> str:
        """Return `text` as HTML. Raises _TooLong."""
        return str(self._markdown.render(text))

    def _check(self, *_: Any) -> bool:
        if time.monotonic() > self._deadline:
            raise _TooLong
        return False

    def _highlighted(self, code: str, language: str, _: str) -> str:
        """Return `code` with its words in spans; "" where it is left as it is."""
        self._check()
        if language.lower() not in _LANGUAGES or len(code) > self._code_left:
            return ""
        self._code_left -= len(code)
        return str(highlight(code, get_lexer_by_name(language.lower(), stripnl=False), _FORMATTER))


def _keep_bare_numbers(state: StateCore) -> None:
    """Make a list of one empty item the text that it was: the answer `42.` means a number."""
    kept: list[Token] = []
    for token in state.tokens:
        kept.append(token)
        if token.type == "ordered_list_close" and [one.type for one in kept[-4:]] == _BARE_NUMBER:
            item = kept[-3]
            text = Token("inline", "", 0, content=item.info + item.markup, map=item.map, children=[])
            kept[-4:] = [
                Token("paragraph_open", "p", 1, block=True),
                text,
                Token("paragraph_close", "p", -1, block=True),
            ]
    state.tokens = kept


def _is_safe(url: str) -> bool:
    return _LINK.match(url) is not None


def _link_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    return renderer.renderToken(tokens, index, options, env)


def _cell_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Return the start of a cell, aligned by a class: the page's policy forbids `style`."""
    style = tokens[index].attrs.pop("style", None)
    if style is not None:
        tokens[index].attrSet("class", "align-" + str(style).rpartition(":")[2])
    return renderer.renderToken(tokens, index, options, env)


def _image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Return a link to an image, which the page must not load from elsewhere."""
    token = tokens[index]
    address = escape(str(token.attrGet("src") or ""))
    words = escape(renderer.renderInlineAsText(token.children or [], options, env)) or address
    return f'<a href="{address}" rel="noopener noreferrer nofollow" target="_blank">{words}</a>'
