"""The value of one field in a form, wherever it stands and however the form is cut (A4)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import InvalidRequest
from chorus.server.http.form_field import MAX_PARTS, FieldFinder, boundary_of, form_type
from tests.kit.providers.relayed import form

pytestmark = pytest.mark.requirement("A4")


def found(body: bytes, *cuts: int, boundary: bytes = b"b0undary") -> FieldFinder:
    """The finder that has read `body`, cut at `cuts`."""
    finder = FieldFinder(boundary, "model")
    places = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    for start, end in pairwise(places):
        finder.feed(body[start:end])
    return finder


@given(
    before=st.binary(max_size=60),
    behind=st.binary(max_size=60),
    value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=20),
    cuts=st.lists(st.integers(0, 500), max_size=12),
)
def test_it_is_found_however_the_form_is_cut(before: bytes, behind: bytes, value: str, cuts: list[int]) -> None:
    body, _ = form(("a", before, "a.bin"), ("model", value, None), ("z", behind, None))
    finder = found(body, *cuts)
    assert finder.value == value
    assert body[finder.start : finder.end] == value.encode()
    assert finder.is_over


@given(cut=st.integers(0, 400))
def test_data_that_looks_like_a_delimiter(cut: int) -> None:
    data = b"\r\n--b0undar\r\n--b0undarz--\r\n\r\n--\r\n-model\r\nContent-Disposition: form-data; name=model\r\n\r\nx"
    body, _ = form(("file", data, "x"), ("model", "glm", None))
    finder = found(body, cut)
    assert (finder.value, finder.is_over) == ("glm", True)


def test_one_byte_at_a_time() -> None:
    body, _ = form(("file", b"\r\n\r\n--", "x"), ("model", "glm", None))
    assert found(body, *range(len(body))).value == "glm"


def test_the_value_is_known_before_the_form_ends() -> None:
    body, _ = form(("model", "glm", None), ("file", b"x" * 1000, "x"))
    finder = found(body[:-500])
    assert (finder.value, finder.is_over) == ("glm", False)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n--b0undary\r\nContent-Disposition: form-data; name=model\r\n\r\nglm\r\n--b0undary--",
        b'--b0undary \t\r\ncontent-disposition:form-data; Name="model"\r\nX: y\r\n\r\nglm\r\n--b0undary--\r\nrest',
        b'--b0undary\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="model"\r\n\r\nglm\r\n--b0undary--',
    ],
)
def test_how_clients_write_it(body: bytes) -> None:
    finder = found(body)
    assert (finder.value, finder.is_over) == ("glm", True)


def test_an_empty_value_is_one() -> None:
    assert found(form(("model", "", None))[0]).value == ""


def test_a_form_without_parts_has_none() -> None:
    finder = found(b"--b0undary--\r\n")
    assert (finder.value, finder.is_over) == (None, True)


def part(disposition: bytes, more: bytes = b"") -> bytes:
    return b"--b0undary\r\nContent-Disposition: " + disposition + b"\r\n" + more + b"\r\nother\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense that is no form",
        b"nonsense\r\n--b0undary\r\n",
        b"--b0undaryX\r\nContent-Disposition: form-data; name=a\r\n\r\n",
        b"--b0undary\nContent-Disposition: form-data; name=a\n\n",
        b"--b0undary" + b" " * 5000,
        b"--b0undary\r\n\r\nno headers\r\n",
        b"--b0undary\r\nno colon\r\n\r\nx\r\n",
        b"--b0undary\r\nContent-Type: text/plain\r\n\r\nno name\r\n",
        part(b"form-data"),
        part(b"attachment; name=a"),
        part(b"form-data; name=a; name=model"),
        part(b"form-data; name*=utf-8''model"),
        part(b'form-data; name=""'),
        part(b'form-data; name="mo\\del"'),
        part(b'form-data; name="a\x00b"'),
        part(b"form-data; name=a", b"Content-Disposition: form-data; name=model\r\n"),
        part(b"form-data; name=a", b" ; name=model\r\n"),
        part(b"form-data; name=a", b"X: y\nContent-Disposition: form-data; name=model\r\n"),
        part(b"form-data; name=a", b"X: " + b"y" * 5000 + b"\r\n"),
        part(b'form-data; name="model"; filename="x"'),
        part(b'form-data; name="Model"'),
        part(b'form-data; name=" model"'),
        part(b"form-data; name=model") + part(b"form-data; name=model") + b"--b0undary--",
        form(("model", "x" * 2000, None))[0],
        form(("model", b"\xff", None))[0],
        form(*[("a", "x", None)] * (MAX_PARTS + 1))[0],
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        found(body)
    with pytest.raises(InvalidRequest):
        found(body, *range(len(body)))


def test_it_holds_little_of_a_long_part() -> None:
    finder = FieldFinder(b"b0undary", "model")
    finder.feed(b'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')
    for _ in range(100):
        finder.feed(b"x" * 10_000)
    assert len(finder._rest) < 100


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
        ("application/json", None),
        ("", None),
        ("text/plain; boundary=abc", None),
    ],
)
def test_the_boundary(content_type: str, boundary: bytes | None) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 300,
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=ä",
        "multipart/form-data; boundary=a; x=ä",
    ],
)
def test_a_form_without_a_boundary(content_type: str) -> None:
    with pytest.raises(InvalidRequest):
        boundary_of(content_type)


def test_the_type_that_is_passed_on_has_one_boundary() -> None:
    for text in ("abc", "----WebKitFormBoundaryX", "a b", "(a),b"):
        assert boundary_of(form_type(text.encode())) == text.encode()
    given = boundary_of("multipart/form-data; boundary=a; boundary=b")
    assert given is not None
    assert form_type(given).count("boundary") == 1
