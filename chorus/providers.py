"""The table of providers: which names `[[model]] provider` may have, and where their factories are.

A built-in provider is an entry point like another package's, so that all of them are loaded in the
same way, and only those that a configuration uses. Another package adds one by an entry point in
the group `chorus.providers` whose object is a `chorus.llm.provider.ProviderFactory`;
`examples/chorus-provider-example` is one.

Above: `config/models` asks for names, `llm/registry` for factories. Below: nothing; the factories'
modules are named here and not imported.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any, Final

from chorus import plugins

GROUP: Final = "chorus.providers"

_BUILT_IN: Final = {
    name: EntryPoint(name, value, GROUP)
    for name, value in {
        "openai": "chorus.llm.providers.http_providers:openai",
        "ollama": "chorus.llm.providers.http_providers:ollama",
        "responses": "chorus.llm.providers.responses.factory:responses",
        "anthropic": "chorus.llm.providers.anthropic.upstream:anthropic",
        "azure": "chorus.llm.providers.azure:azure",
        "grpc": "chorus.llm.providers.grpc_provider:grpc",
        "litellm": "chorus.llm.providers.litellm_provider:litellm",
        "demo": "chorus.demo.provider:demo",
    }.items()
}


def is_known(name: str) -> bool:
    """Return whether there is a provider `name`.

    Packages are looked through for names that are not built in.
    """
    return name in _BUILT_IN or any(point.name == name for point in plugins.installed(GROUP))


def names() -> tuple[str, ...]:
    """Return every provider, the built-in ones first."""
    return (*_BUILT_IN, *sorted({point.name for point in plugins.installed(GROUP)} - _BUILT_IN.keys()))


def load(name: str) -> Any:
    """Return the factory of the provider `name`. A package cannot replace a built-in provider.

    Raises:
        ConfigError: its package cannot be loaded.
        KeyError: there is none of that name.
    """
    point = _BUILT_IN.get(name) or {entry.name: entry for entry in plugins.installed(GROUP)}[name]
    return plugins.load(point, "provider")
