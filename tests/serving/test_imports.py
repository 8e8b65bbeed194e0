"""What a server imports before somebody needs it (I1, M5, O3)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.kit.command import ROOT

pytestmark = [pytest.mark.requirement("I1"), pytest.mark.requirement("M5"), pytest.mark.requirement("O3")]

LIBRARIES = ("genai_prices", "google", "grpc", "httpx2", "litellm", "mcp", "mcp_types", "opentelemetry")
"""Each takes time and memory at the start: the SDK of MCP two seconds and 60 MB."""
MODULES = (
    "chorus.serving.server, chorus.cli.mcp, chorus.llm.providers.grpc_provider, chorus.llm.providers.litellm_provider"
)
CONFIG = """
[[model]]
name = "demo"
provider = "demo"
[[model]]
name = "local"
provider = "ollama"
api_base = "http://127.0.0.1:11434"
[[model]]
name = "priced"
api_base = "https://api.openai.com/v1"
price = { input = 1.0 }
"""


def test_a_start_imports_no_library_that_its_configuration_does_not_need() -> None:
    program = f"""
import sys, {MODULES}
from chorus.config import loads
from chorus.llm.transport.clients import Clients
from chorus.snapshot import compose
compose(loads({CONFIG!r}, environ={{}}), Clients())
print(*({set(LIBRARIES)!r} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.split() == []
