"""How long each stage may take, and which host gets which times (C7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from chorus.config.table import Seconds, Table

_LIKELY_MILLISECONDS = 10_000
"""Nobody waits three hours for a stage.

The first Chorus shipped 30000 in a key that is in seconds.
"""

_HOST_PATTERN = re.compile(r"(?:\*\.)?[^\s/@*?#]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class TimesTable(Table):
    """A table of times in seconds."""

    def suspicions(self) -> tuple[str, ...]:
        """Return a sentence for each time that looks like milliseconds."""
        return tuple(
            f"{name} = {value:g} is {value / 3600:.1f} hours; the key is in seconds, not milliseconds"
            for name in type(self).model_fields
            if name in self.model_fields_set
            and (value := getattr(self, name)) is not None
            and value >= _LIKELY_MILLISECONDS
        )


class TimeoutSettings(TimesTable):
    """`[workflow.timeouts]` and, as far as its fields are set, `[workflow.domains."host"]`.

    In seconds.
    """

    analyzer_timeout_secs: Seconds = Field(30, description="a number of seconds above 0")
    worker_timeout_secs: Seconds = Field(60, description="a number of seconds above 0")
    selector_timeout_secs: Seconds = Field(60, description="a number of seconds above 0")
    synthesizer_timeout_secs: Seconds = Field(60, description="a number of seconds above 0")
    first_token_timeout_secs: Seconds | None = Field(None, description="a number of seconds above 0")
    total_timeout_secs: Seconds | None = Field(None, description="a number of seconds above 0")

    def overridden_by(self, other: TimeoutSettings) -> TimeoutSettings:
        """These times, with those that `other` sets itself (not its defaults) in their place."""
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


class PassThroughTimeouts(TimesTable):
    """`[timeouts]` and `[[model]] timeouts`: seconds for a model that the request names itself.

    Ten minutes are what OpenAI's and Anthropic's SDKs wait.
    """

    first_byte_timeout_secs: Seconds = Field(600, description="a number of seconds above 0")
    idle_timeout_secs: Seconds = Field(600, description="a number of seconds above 0")
    total_timeout_secs: Seconds = Field(3600, description="a number of seconds above 0")
    first_token_timeout_secs: Seconds | None = Field(None, description="a number of seconds above 0")

    def overridden_by(self, other: PassThroughTimeouts | None) -> PassThroughTimeouts:
        """These times, with those that `other` sets itself in their place."""
        if other is None:
            return self
        return self.model_copy(update={name: getattr(other, name) for name in other.model_fields_set})


def _check_host_pattern(text: str) -> str:
    if not _HOST_PATTERN.fullmatch(text):
        raise ValueError('expected a host such as "api.example.com", "localhost:11434" or "*.example.com"')
    return text


HostPattern = Annotated[str, AfterValidator(_check_host_pattern)]
"""What may name a `[workflow.domains]` table: `host`, `host:port` or `*.suffix`."""


def resolve(base: TimeoutSettings, domains: Mapping[str, TimeoutSettings], api_base: str) -> TimeoutSettings:
    """Return the times for a model at `api_base` (C7).

    Every table that fits applies, the most specific last, so that each field comes from the nearest
    table that sets it: `host:port`, then `host`, then `*.suffix`, the longer suffix first. Hosts
    are compared without case, and an address without a port has its scheme's.
    """
    address = urlsplit(api_base)
    host = (address.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"  # an IPv6 address; urlsplit takes the brackets off
    port = address.port or _DEFAULT_PORTS.get(address.scheme)
    tables = {pattern.lower(): table for pattern, table in domains.items()}
    fitting = sorted((key for key in tables if key.startswith("*.") and host.endswith(key[1:])), key=len)
    for pattern in (*fitting, host, f"{host}:{port}"):
        if pattern in tables:
            base = base.overridden_by(tables[pattern])
    return base
