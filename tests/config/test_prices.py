"""Prices that nobody configured: of well-known models, without asking anybody (C4, W11)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chorus.config import loads
from chorus.config.prices import is_private, known_price
from chorus.llm.transport.clients import Clients
from chorus.snapshot import compose

OPENAI = "https://api.openai.com/v1"

PRIVATE = (
    "http://localhost:11434",
    "http://127.0.0.1:11434/v1",
    "http://[::1]:8000/v1",
    "http://10.1.2.3:8000/v1",
    "http://192.168.0.7/v1",
    "http://169.254.1.1/v1",
    "http://[fd00::7]:8000/v1",
    "http://vllm:8000/v1",
    "http://box.local/v1",
    "https://gpu.lan/v1",
    "https://models.corp.internal/v1",
    "",
)


@pytest.mark.parametrize("model", ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06"])
@pytest.mark.requirement("W11")
def test_a_known_model_has_its_list_price(model: str) -> None:
    price = known_price(model, OPENAI)
    assert price is not None
    assert price.cached is not None
    assert 0 < price.cached < price.input < price.output < 1000


@pytest.mark.parametrize(
    ("model", "api_base"),
    [
        ("no-such-model", OPENAI),
        ("gpt-4o", "https://gateway.example.com/v1"),
        ("whisper-1", OPENAI),
        *(("gpt-4o", address) for address in PRIVATE),
    ],
)
@pytest.mark.requirement("W11")
def test_what_nobody_knows_has_none(model: str, api_base: str) -> None:
    assert known_price(model, api_base) is None


def test_the_time_of_day_does_not_matter() -> None:
    """DeepSeek is cheaper at night; the budget is not to hang on when the server was started."""
    price = known_price("deepseek-chat", "https://api.deepseek.com/v1")
    assert price == known_price("deepseek-chat", "https://API.DeepSeek.com/v1/")
    assert price is not None
    assert price.output > 0


def test_a_price_that_rises_with_length_is_that_of_common_prompts() -> None:
    price = known_price("gemini-2.5-pro", "https://generativelanguage.googleapis.com/v1beta/openai")
    assert price is not None
    assert 0 < price.input < price.output


@pytest.mark.parametrize("address", PRIVATE)
def test_ones_own_machines_are_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", [OPENAI, "https://8.8.8.8/v1", "https://localhost.example.com/v1"])
def test_the_internet_is_not(address: str) -> None:
    assert not is_private(address)


CONFIGURED = f"""
[[model]]
name = "named-otherwise"
model = "gpt-4o"
api_base = "{OPENAI}"

[[model]]
name = "free"
model = "gpt-4o"
api_base = "{OPENAI}"
price = {{}}

[[model]]
name = "mine"
model = "gpt-4o"
api_base = "{OPENAI}"
price = {{ input = 1000.0, output = 2000.0 }}

[[model]]
name = "gpt-4o"
provider = "demo"
model = "demo-abacus"
"""


@pytest.mark.requirement("W11")
def test_the_configured_price_wins_and_the_known_one_stands_in() -> None:
    models = compose(loads(CONFIGURED, environ={}), Clients()).models
    known = known_price("gpt-4o", OPENAI)
    prices = {name: model.price for name, model in models.items()}
    assert known is not None
    assert prices["named-otherwise"] is not None
    assert prices["named-otherwise"].input == known.input
    assert prices["named-otherwise"].cached == known.cached
    assert prices["free"] is not None
    assert prices["free"].output == 0
    assert prices["mine"] is not None
    assert prices["mine"].input == 1000
    assert prices["gpt-4o"] is None


@pytest.mark.slow
def test_the_network_is_never_asked() -> None:
    program = (
        "import socket, sys\n"
        "def refuse(*given, **named): raise SystemExit('asked the network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from chorus.config.prices import known_price\n"
        f"sys.exit(known_price('gpt-4o', {OPENAI!r}) is None)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
