"""Secrets are blotted out by value, however a foreign text writes them (S2)."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import errors, redaction
from chorus.errors import LLMError, excerpt
from chorus.redaction import MAX_VALUES, MIN_LENGTH, REDACTED, Secrets, presented

pytestmark = pytest.mark.requirement("S2")
KEY = "Zq7vNpWx93LmTt5RkUeY21"


def every_byte(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper": str.upper,
    "json": lambda text: json.dumps(text)[1:-1],
    "json twice": lambda text: json.dumps(json.dumps(text))[3:-3],
    "json in unicode escapes": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "slashes escaped": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "repr": lambda text: repr(text)[1:-1],
    "bytes": lambda text: repr(text.encode())[2:-1],
    "hex escapes": lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "every byte of a url": every_byte,
    "html": html.escape,
    "html in numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "url in json": lambda text: json.dumps(quote(text, safe=""))[1:-1],
    "html in json": lambda text: json.dumps(html.escape(text))[1:-1],
}
AROUND = (
    "{}",
    "bad key {}",
    "{'authorization': 'Bearer {}', 'x': 1}",
    'key="{}"\r\nx: y',
    "map[Authorization:[Bearer {}]]",
    "{}{}",
)

visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=MIN_LENGTH, max_size=60)
secret_values = visible.map(str.strip).filter(
    lambda text: len(text) >= MIN_LENGTH and text not in redaction.PLACEHOLDERS
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Secrets of this test only."""
    fresh = Secrets()
    monkeypatch.setattr(errors, "KNOWN", fresh)
    return fresh


def knows(*values: str) -> Secrets:
    secrets = Secrets()
    secrets.add(values)
    return secrets


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("key", [KEY, "q\"uo/te\\d+key<&>'%41=", "two words and more", "9f8e7d6c5b4a3928"])
def test_a_secret_is_found_however_it_is_written(known: Secrets, key: str, how: str, around: str) -> None:
    known.add([key])
    text = around.replace("{}", WRITTEN[how](key))
    shown = excerpt(text)
    assert REDACTED in shown
    assert KEY not in shown
    for form in {key, WRITTEN[how](key)}:
        assert form.lower() not in shown.lower()


@given(
    secret=secret_values,
    how=st.sampled_from(sorted(WRITTEN)),
    before=st.text(max_size=300),
    after=st.text(max_size=300),
)
def test_no_secret_passes(secret: str, how: str, before: str, after: str) -> None:
    text = " ".join(f"{before}{WRITTEN[how](secret)}{after}".split())
    blotted = knows(secret).blotted(text)
    if WRITTEN[how](secret).lower() == secret.lower():
        assert " ".join(secret.split()).lower() not in blotted.lower()
    assert blotted != text or REDACTED in text


@given(
    secret=secret_values, how=st.sampled_from(["plain", "json", "url", "html", "every byte of a url"]), data=st.data()
)
def test_a_secret_that_was_cut_leaves_no_beginning(secret: str, how: str, data: st.DataObject) -> None:
    whole = data.draw(st.integers(4, len(secret)))
    next_one = WRITTEN[how](secret[whole : whole + 1])
    text = "key " + WRITTEN[how](secret[:whole]) + next_one[: data.draw(st.integers(0, len(next_one)))]
    blotted = knows(secret).blotted(text, is_cut=True)
    assert REDACTED in blotted
    if how == "plain":
        assert blotted == f"key {REDACTED}"


def test_the_end_of_an_excerpt_shows_no_part_of_a_key(known: Secrets) -> None:
    known.add([KEY])
    for start in range(150, 210):
        shown = excerpt("x" * start + " " + KEY + " and more " * 50)
        assert len(shown) <= 200
        assert KEY[:4] not in shown
    for end in range(4, len(KEY)):  # the upstream's body was cut by us, and whitespace fills it
        shown = excerpt("wrong key" + " " * 70_000 + KEY[:end])
        assert KEY[:4] not in shown
        shown = excerpt("wrong key " + KEY[:end])
        assert KEY[:4] not in shown
    for spaces in range(4080, 4100):  # in the middle of what is searched
        assert KEY[:4] not in excerpt("y" * spaces + KEY + "z" * 200, limit=5000)


def test_half_of_a_key_is_too_much() -> None:
    shown = knows(KEY).blotted(f"the key {KEY[:11]}... is wrong")
    assert shown == f"the key {REDACTED}... is wrong"
    assert knows(KEY).blotted(f"the key {KEY[:6]}... is wrong") == f"the key {KEY[:6]}... is wrong"


@pytest.mark.parametrize("value", ["", "abc", "short", "ollama", "Not-Needed", " a  b "])
def test_what_is_too_short_or_no_secret_destroys_no_text(value: str) -> None:
    text = "the model ollama said a short abc, not-needed here, a b"
    assert knows(value).blotted(text) == text


def test_several_secrets_and_overlaps() -> None:
    secrets = knows("abcdefgh", "defghijk", "abcdefghijklmnop", "xyzxyz")
    assert secrets.blotted("<abcdefghijklmnop> <abcdefghijk> <xyzxyz>") == f"<{REDACTED}> <{REDACTED}> <{REDACTED}>"


def test_an_honest_text_stays_as_it_is() -> None:
    text = "50% of \\u0041 &amp; C:\\new 100%"
    assert knows(KEY).blotted(text, is_cut=True) == text


def test_the_clients_own_key_is_a_secret_of_its_request(known: Secrets) -> None:
    token = presented.set("my-own-client-key")
    try:
        assert excerpt("you said my-own-client-key") == f"you said {REDACTED}"
        assert "my-own" not in LLMError("No", detail="key my-own-client-key").message
    finally:
        presented.reset(token)
    assert excerpt("you said my-own-client-key") == "you said my-own-client-key"


def test_so_many_values_are_remembered_and_those_used_last_stay() -> None:
    secrets = knows("the-first-secret")
    for number in range(3):
        secrets.add(f"{number}-{index}-secret" for index in range(MAX_VALUES // 2))
        secrets.add(["the-first-secret"])
    assert secrets.blotted("the-first-secret 2-4999-secret 0-4999-secret") == f"{REDACTED} {REDACTED} 0-4999-secret"


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-" * 9000,
        "\\u0073" * 11_000,
        "%73" * 22_000,
        "&#115;" * 11_000,
        "\\" * 66_000,
        " " * 66_000,
        "a " * 33_000,
    ],
)
def test_no_text_of_an_upstream_holds_the_others_up(known: Secrets, text: str) -> None:
    known.add(f"sk-proj-{number:020}" for number in range(500))
    began = time.perf_counter()
    excerpt(text)
    assert time.perf_counter() - began < 0.1
