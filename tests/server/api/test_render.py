"""Markdown as safe HTML: nothing of a text acts in a page, and none holds the server (O4)."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import anyio
import httpx
import pytest

from chorus.server.api import markdown

pytestmark = pytest.mark.requirement("O4")

SAFE_TAGS = {
    "a",
    "p",
    "em",
    "strong",
    "s",
    "code",
    "pre",
    "ul",
    "ol",
    "li",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "br",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "span",
}
SAFE_ATTRIBUTES = {"href", "rel", "target", "class", "start", "title"}


class _Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]


def seen(html: str) -> _Seen:
    parser = _Seen()
    parser.feed(html)
    return parser


def test_markdown_becomes_html() -> None:
    html, is_markdown = markdown.render("# A\n\n**b** ~~c~~ `d`\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n- e\n")
    assert is_markdown
    for piece in ("<h1>A</h1>", "<strong>b</strong>", "<s>c</s>", "<code>d</code>", "<td>1</td>", "<li>e</li>"):
        assert piece in html


def test_code_is_coloured_by_classes() -> None:
    html, _ = markdown.render('```python\ndef f(): return "<script>"\n```\n')
    assert '<span class="hl-k">def</span>' in html
    assert "<script>" not in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onclick='x()'>c</b> <iframe src='https://x'></iframe>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#106;avascript:alert(1))",
        "[a](java\nscript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "[a](vbscript:x) [b](file:///etc/passwd) [c](//evil.example.com) [d](/api/v1/runs)",
        "<javascript:alert(1)>",
        "![a](javascript:alert(1))",
        "![<script>](https://evil.example.com/x.png)",
        "[a]: javascript:alert(1)\n\n[a]",
        '[a](https://x.example.com/"onmouseover="alert(1))',
        "[a](https://x.example.com 'title\" onclick=\"x')",
        '```"><script>alert(1)</script>\nx\n```',
        "```python\n</code></pre><script>alert(1)</script>\n```",
        "| <script> | b |\n|---|---|\n| <svg onload=x> | d |",
    ],
)
def test_nothing_of_a_text_acts(text: str) -> None:
    html, _ = markdown.render(text)
    found = seen(html)
    assert found.tags <= SAFE_TAGS
    assert found.attributes <= SAFE_ATTRIBUTES
    assert all(re.match(r"https?://|mailto:", link) for link in found.links)


def test_links_open_elsewhere_and_images_are_links() -> None:
    html, _ = markdown.render("[a](https://x.example.com) ![b](https://x.example.com/b.png) <me@example.com>")
    assert seen(html).links == ["https://x.example.com", "https://x.example.com/b.png", "mailto:me@example.com"]
    assert html.count('rel="noopener noreferrer nofollow" target="_blank"') == 3
    assert "<img" not in html


def test_cells_are_aligned_by_classes() -> None:
    html, _ = markdown.render("| a | b |\n|:-:|--:|\n| 1 | 2 |\n")
    assert '<td class="align-center">1</td>' in html
    assert '<td class="align-right">2</td>' in html
    assert "style" not in html


HOSTILE = {
    "brackets": "[", "images": "![", "stars": "*a ", "ticks": "`", "mixed": "*_", "quotes": ">", "lists": "- ",
    "angles": "<a ", "entities": "&#x", "links": "[a](", "tables": "|-", "escapes": "\\", "references": "[a]: b\n",
    "nested": "*a **b ", "autolinks": "<http:", "tildes": "~~a", "lines": "a\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_takes_time_by_its_length(name: str) -> None:
    def render(length: int) -> tuple[float, str]:
        """Seconds of CPU, and the HTML."""
        text = HOSTILE[name] * (length // len(HOSTILE[name]))
        began = time.thread_time()
        html, _ = markdown.render(text)
        return time.thread_time() - began, html

    short = min(render(markdown.MAX_CHARS // 64)[0] for _ in range(3))
    # again, where others load the core
    longer = (render(markdown.MAX_CHARS // 16) for _ in range(3))
    # four times the text: 16 would be its square
    html = next((html for secs, html in longer if secs < 10 * short + 0.02), None)
    assert html is not None
    assert seen(html).tags <= SAFE_TAGS


def test_a_text_that_is_too_long_is_plain() -> None:
    html, is_markdown = markdown.render("<b>" * 400_000)
    assert not is_markdown
    assert html.startswith("<pre>&lt;b&gt;")


async def test_the_route(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/render", json={"text": "**a** <b>"})
    assert answer.json() == {"html": "<p><strong>a</strong> &lt;b&gt;</p>\n", "is_plain": False}
    assert (await client.post("/api/v1/render", json={"text": 7})).json()["error"]["param"] == "text"


async def test_other_requests_are_answered_meanwhile(client: httpx.AsyncClient) -> None:
    text = "[" * 100_000
    done = False
    longest = 0.0

    async def render() -> None:
        nonlocal done
        await client.post("/api/v1/render", json={"text": text}, timeout=60)
        done = True

    async with anyio.create_task_group() as group:
        group.start_soon(render)
        while not done:
            began = time.monotonic()
            await client.get("/health")
            longest = max(longest, time.monotonic() - began)
    assert longest < 1.0


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("395.", "<p>395.</p>\n"),
        ("42)\n\nBecause.", "<p>42)</p>\n<p>Because.</p>\n"),
        ("> 7.", "<blockquote>\n<p>7.</p>\n</blockquote>\n"),
        ("1. one\n2. two", "<ol>\n<li>one</li>\n<li>two</li>\n</ol>\n"),
        ("```\n42.\n```", "<pre><code>42.\n</code></pre>\n"),
    ],
)
def test_an_answer_that_is_a_number_is_no_empty_list(text: str, html: str) -> None:
    assert markdown.render(text) == (html, True)
