"""scripts/prose.py wraps prose, and leaves code, tables, links and drawings as they are (T1)."""

from __future__ import annotations

import pytest

from scripts import prose

LONG = "The server answers each request with the models that its configuration names. " * 2


@pytest.mark.parametrize(
    "text",
    [
        f"```\n{LONG}\n```",
        f"    {LONG}",
        f"| a | {LONG} |",
        f"# {LONG}",
        f"[what it does](https://example.com/{'x' * 120})",
        f"`{'x' * 120}`",
    ],
)
def test_what_is_no_prose_stays(text: str) -> None:
    assert prose.problems("a.md", text) == []
    assert prose.markdown(text) == text


@pytest.mark.requirement("T1")
def test_paragraphs_and_items_are_wrapped() -> None:
    text = f"{LONG}\n\n- {LONG}\n- short\n\n  {LONG}\n"
    assert prose.problems("a.md", text) == [1, 3, 6]
    wrapped = prose.markdown(text)
    assert prose.problems("a.md", wrapped) == []
    assert wrapped.split() == text.split()
    assert "\n- The server" in wrapped
    assert "\n  " in wrapped


def test_a_line_never_begins_with_what_would_be_a_list() -> None:
    wrapped = prose.markdown("word " * 19 + "1234 - and more words behind the dash, which is no item")
    assert not any(line.startswith("-") for line in wrapped.splitlines())


def test_chinese_counts_two_columns_and_is_wrapped_behind_its_punctuation() -> None:
    sentence = "工作流让几个模型回答同一个请求，最后返回一个答案；"
    assert prose.width(sentence) == 50
    assert prose.markdown(sentence * 3).split("\n") == [sentence * 2, sentence]


def test_docstrings_and_comments_are_wrapped_and_code_stays() -> None:
    source = (
        f'def f() -> None:\n    """Do it. {LONG.strip()}\n\n    Raises:\n        OSError: {LONG.strip()}\n    """\n'
        f'    x = "{LONG}"\n    y = {"1 + " * 20}1  # {LONG.strip()}\n'
    )
    fixed = prose.python(source)
    assert prose.problems("a.py", fixed) == []
    assert '    """Do it.\n\n    The server' in fixed
    assert "\n        OSError: The" in fixed
    assert f'    x = "{LONG}"\n' in fixed
    assert fixed.index("# The server") < fixed.index("    y = ")
