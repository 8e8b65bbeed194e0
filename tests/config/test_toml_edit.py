"""One key of a file is set, and all the rest stays (C2)."""

from __future__ import annotations

import tomllib

import pytest

from chorus.config.toml_edit import with_model_array
from chorus.errors import ConfigError

pytestmark = pytest.mark.requirement("C2")
WORDS = ["tools", "vision"]
SET = 'capabilities = ["tools", "vision"]'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[[model]]\nname = "a"\n', f'[[model]]\nname = "a"\n{SET}\n'),
        ('[[model]]\nname = "a"', f'[[model]]\nname = "a"\n{SET}\n'),
        ('[model]\nname = "a" # it\nx = 1', f'[model]\nname = "a" # it\n{SET}\nx = 1'),
        ('[[model]]\n  name = "a"\n  x = 1', f'[[model]]\n  name = "a"\n  {SET}\n  x = 1'),
        ('[[model]]\r\nname = "a"\r\n', f'[[model]]\r\nname = "a"\r\n{SET}\r\n'),
        ('[[model]]\nname = "a"\ncapabilities = []\n', f'[[model]]\nname = "a"\n{SET}\n'),
        (
            '[[model]]\ncapabilities=["]", # [\n] # x\nname = "a"',
            f'[[model]]\n{SET.replace(" = ", "=")} # x\nname = "a"',
        ),
        (
            '[[model]]\nname = "b"\n[[model]]\nname = """a"""\n[server]\nport = 1',
            f'[[model]]\nname = "b"\n[[model]]\nname = """a"""\n{SET}\n[server]\nport = 1',
        ),
    ],
)
def test_it_is_set(before: str, after: str) -> None:
    assert with_model_array(before, "a", "capabilities", WORDS) == after
    assert with_model_array(after, "a", "capabilities", WORDS) == after
    assert tomllib.loads(after)["model"] is not None


@pytest.mark.parametrize(
    "text", ['[[model]]\nname = "b"\n', 'model = [{name = "a"}]', "x = 1", '[[model]]\nname="a"\n[[model]]\nname="a"']
)
def test_where_it_cannot_be_set_it_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError, match=r'write it by hand: capabilities = \["tools", "vision"\]'):
        with_model_array(text, "a", "capabilities", WORDS)
