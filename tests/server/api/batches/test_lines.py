"""Reading the lines of a batch, whatever pieces their file comes in (M7)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.server.api.batch_lines import LineSplitter

pytestmark = pytest.mark.requirement("M7")


def split(content: bytes, cuts: list[int], max_bytes: int = 1000) -> list[tuple[int, bytes | None]]:
    places = [0, *sorted(cut for cut in cuts if cut <= len(content)), len(content)]
    pieces = [content[begin:end] for begin, end in pairwise(places)]
    splitter = LineSplitter(max_bytes)
    half = len(pieces) // 2
    return splitter.feed(pieces[:half], is_last=False) + splitter.feed(pieces[half:], is_last=True)


@given(
    st.lists(st.sampled_from([b"", b" \t", b"{}", b'{"a": 1}\r', "好".encode(), b"x" * 30])),
    st.booleans(),
    st.lists(st.integers(0, 200)),
)
def test_lines_are_the_same_wherever_a_file_is_cut(lines: list[bytes], ends: bool, cuts: list[int]) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    assert split(content, cuts) == [(number, text) for number, text in enumerate(lines) if text.strip()]


def test_a_mark_of_byte_order_is_no_part_of_the_first_line() -> None:
    assert split(b"\xef\xbb\xbf{}\n{}", [1, 2]) == [(0, b"{}"), (1, b"{}")]


@given(st.lists(st.integers(0, 60)))
def test_a_line_that_is_too_long_is_left_out_and_the_next_one_is_read(cuts: list[int]) -> None:
    content = b"a\n" + b"b" * 30 + b"\nc\n" + b"d" * 10
    assert split(content, cuts, 10) == [(0, b"a"), (1, None), (2, b"c"), (3, b"d" * 10)]
