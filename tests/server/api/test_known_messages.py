"""What is known of a history's beginning never changes what is read."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chorus.server.api.known_messages import KnownMessages
from chorus.server.dialects.responses.plain_history import finished_messages

TEXTS = st.text(alphabet='a[]{},"\\é', min_size=0, max_size=4)
ITEMS = st.builds(
    lambda text, role, status: item(text, role=role, status=status),
    TEXTS,
    st.sampled_from(["user", "assistant", "system"]),
    st.sampled_from(["completed", "completed", "completed", "incomplete"]),
)


def item(text: str, role: str = "user", status: str = "completed") -> dict[str, Any]:
    part = {"type": "input_text" if role == "user" else "output_text", "text": text}
    return {"type": "message", "id": "msg_1", "role": role, "content": [part], "status": status}


def encoded(items: list[Any]) -> bytes:
    return json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode()


def read(known: KnownMessages, id: str, items: list[Any]) -> list[Any] | None:
    messages = known.of(id, encoded(items))
    return [*messages] if messages is not None else None


@given(histories=st.lists(st.tuples(st.sampled_from("ab"), st.lists(ITEMS, max_size=4)), max_size=6))
def test_any_sequence_of_histories_is_read_as_without_memory(histories: list[tuple[str, list[Any]]]) -> None:
    known = KnownMessages(max_bytes=1200)
    items: dict[str, list[Any]] = {"a": [], "b": []}
    for id, more in histories:
        for now in (items[id] + more, more, [*more, *items[id]]):  # grown, another one, changed
            assert read(known, id, now) == finished_messages(encoded(now))
        items[id] = items[id] + more


def test_an_item_that_grew_is_no_beginning() -> None:
    known = KnownMessages()
    assert read(known, "a", [item("one")]) is not None
    longer = encoded([item("one")])[:-2] + b',"more":1}]'
    assert known.of("a", longer) is None


def test_the_bytes_that_are_kept_are_bounded() -> None:
    known = KnownMessages(max_bytes=2000)
    for number in range(50):
        read(known, f"conv_{number}", [item("x" * 100)])
    assert sum(one.size for one in known._known.values()) == known._bytes <= 2000
