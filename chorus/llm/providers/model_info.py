"""Read what servers say of their models: capabilities and the context window. Pure.

There is no standard. The shapes, as of November 2026:

- Ollama, `POST /api/show`: `capabilities` (a list) and `model_info` with
  "<architecture>.context_length".
- vLLM, SGLang, `GET /v1/models`: `max_model_len`. llama.cpp: `meta.n_ctx`, `meta.n_ctx_train`; and
  `GET /props`.
- OpenRouter: `supported_parameters`, `architecture.input_modalities`, `context_length`. Its like:
  Together, Groq (`context_window`), Fireworks (`supports_tools`), the Hugging Face router
  (`providers[].supports_tools`).
- Mistral: `capabilities` (an object of booleans), `max_context_length`. GitHub:
  `capabilities.supports`.
- Anthropic, `GET /v1/models/{id}`: `capabilities` (objects with `supported`), `max_input_tokens`.
- LM Studio, `GET /api/v0/models`: `type`, `capabilities` (a list), `max_context_length`,
  `loaded_context_length`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chorus import wirejson
from chorus.wirejson import JSON

MAX_WINDOW: Final = 1_000_000_000
"""Tokens; a larger number is no context window."""

_WORDS: Final = {
    "completion": "completion",
    "tools": "tools",
    "tool_use": "tools",
    "tool_calls": "tools",
    "tool_calling": "tools",
    "function_calling": "tools",
    "trained_for_tool_use": "tools",
    "supports_tools": "tools",
    "vision": "vision",
    "image": "vision",
    "image_input": "vision",
    "supports_image_input": "vision",
    "thinking": "thinking",
    "reasoning": "thinking",
    "include_reasoning": "thinking",
    "reasoning_effort": "thinking",
    "embedding": "embedding",
    "embeddings": "embedding",
}
"""Ollama's words for capabilities by those of others."""
_WINDOWS: Final = (
    ("loaded_context_length",),
    ("max_model_len",),
    ("meta", "n_ctx"),
    ("context_length",),
    ("context_window",),
    ("max_context_length",),
    ("max_input_tokens",),
    ("top_provider", "context_length"),
    ("metadata", "context_length"),
    ("capabilities", "limits", "max_context_window_tokens"),
    ("meta", "n_ctx_train"),
)
"""Where the context window stands; what is loaded comes before what the model was trained for."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model, in Ollama's words; a word in neither set is not known."""

    has: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    context_window: int | None = None

    def completed(self, other: ModelInfo) -> ModelInfo:
        """This, and where it says nothing, `other`."""
        return ModelInfo(
            self.has | (other.has - self.lacks),
            self.lacks | (other.lacks - self.has),
            self.context_window or other.context_window,
        )

    def shared(self, other: ModelInfo) -> ModelInfo:
        """Return what holds for two replicas of one model."""
        windows = [window for window in (self.context_window, other.context_window) if window is not None]
        lacks = self.lacks | other.lacks
        return ModelInfo((self.has | other.has) - lacks, lacks, min(windows, default=None))


NOTHING: Final = ModelInfo()
_TOOLS: Final = frozenset({"tools"})


def settled(
    found: ModelInfo, configured: Collection[str] | None, context_window: int | None, *, assumes_tools: bool
) -> ModelInfo:
    """Return what clients see of a model: what is configured, else what was `found`.

    `assumes_tools`: a model of which nothing is known of tools takes them.

    VS Code's Copilot and Open WebUI hide models without tools, or never offer them any. Most models
    behind OpenAI-compatible servers take them, and their lists rarely say so.
    """
    has, lacks = found.has, found.lacks
    if configured is not None:
        has, lacks = frozenset(_WORDS[word] for word in configured if word in _WORDS), frozenset()
    elif assumes_tools and "tools" not in lacks:
        has |= _TOOLS
    return ModelInfo(has, lacks, context_window or found.context_window)


def entry_of(listing: JSON, model: str) -> Mapping[str, JSON] | None:
    """Return the entry of `model` in a list of models, or the only one: a server of one model
    answers under any name.
    """
    entries = _entries(listing)
    return named_entry(listing, model) or (entries[0] if len(entries) == 1 else None)


def named_entry(listing: JSON, model: str) -> Mapping[str, JSON] | None:
    """Return the entry that names `model`; None where there is none.

    Gemini writes "models/" before names; OpenRouter takes names with a suffix (":nitro") that it
    does not list; Ollama appends ":latest".
    """
    by_name: dict[str, Mapping[str, JSON]] = {}
    for entry in _entries(listing):
        for name in _names(entry):
            by_name.setdefault(name.lower(), entry)
    wanted = model.lower()
    for name in (wanted, f"{wanted}:latest", f"models/{wanted}", wanted.rpartition(":")[0]):
        if name and name in by_name:
            return by_name[name]
    return None


def listed_names(listing: JSON) -> list[str]:
    """Return the name of each model in a list of models, by which it is asked."""
    return [name for entry in _entries(listing) if (name := next(_names(entry), None)) is not None]


def read_entry(entry: Mapping[str, JSON]) -> ModelInfo:
    """Return what an entry of a list of models says."""
    flags: dict[str, bool] = {}
    for word, value in _statements(entry):
        if (known := _WORDS.get(word)) is not None:
            flags[known] = flags.get(known, False) or value
    kind = entry.get("type")
    if kind == "vlm":
        flags["vision"] = True
    elif kind in ("embedding", "embeddings"):
        flags |= {"embedding": True, "completion": False, "tools": False}
    window = next((found for path in _WINDOWS if (found := _window(_at(entry, path))) is not None), None)
    return _info(flags, window)


def read_ollama(shown: JSON) -> ModelInfo:
    """Return what Ollama's `/api/show` says.

    Its list is complete: a capability that is not in it is lacking. Versions before 0.6.4 have no
    list.
    """
    if not isinstance(shown, Mapping):
        return NOTHING
    flags: dict[str, bool] = {}
    listed = shown.get("capabilities")
    if isinstance(listed, list):
        flags = {word: word in listed for word in ("completion", "tools", "vision", "thinking", "embedding")}
    details = shown.get("model_info")
    window = None
    if isinstance(details, Mapping):
        lengths = (value for key, value in details.items() if str(key).endswith(".context_length"))
        window = next((found for value in lengths if (found := _window(value)) is not None), None)
    return _info(flags, window)


def read_props(props: JSON) -> ModelInfo:
    """Return what llama.cpp's `/props` says: its chat template's capabilities, and the context of
    one slot.
    """
    if not isinstance(props, Mapping):
        return NOTHING
    flags: dict[str, bool] = {}
    tools = _at(props, ("chat_template_caps", "supports_tools"))
    vision = _at(props, ("modalities", "vision"))
    if isinstance(tools, bool):
        flags["tools"] = tools
    if isinstance(vision, bool):
        flags["vision"] = vision
    return _info(flags, _window(_at(props, ("default_generation_settings", "n_ctx"))))


def decoded(raw: bytes) -> JSON:
    """Return a description as JSON; None where it is none."""
    try:
        return wirejson.decode(raw)
    except ValueError:
        return None


def _entries(listing: JSON) -> list[Mapping[str, JSON]]:
    if isinstance(listing, Mapping):
        listing = listing.get("data") or listing.get("models")
    return [entry for entry in listing if isinstance(entry, Mapping)] if isinstance(listing, list) else []


def _names(entry: Mapping[str, JSON]) -> Iterator[str]:
    aliases = entry.get("aliases")
    for name in (
        *(entry.get(key) for key in ("id", "model", "name")),
        *(aliases if isinstance(aliases, list) else ()),
    ):
        if isinstance(name, str):
            yield name


def _statements(entry: Mapping[str, JSON]) -> Iterator[tuple[str, bool]]:
    """Yield everything that an entry says of capabilities: a word, and whether it holds."""
    parameters = entry.get("supported_parameters")
    if isinstance(parameters, list) and parameters:
        yield "tools", False  # these lists are complete: what they lack is lacking
        yield "reasoning", False
        yield from ((word, True) for word in parameters if isinstance(word, str))
    for modalities in (_at(entry, ("architecture", "input_modalities")), entry.get("input_modalities")):
        if isinstance(modalities, list) and modalities:
            yield "image", "image" in modalities
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, list):
        yield from ((word, True) for word in capabilities if isinstance(word, str))
    for flags in (capabilities, _at(entry, ("capabilities", "supports")), entry):
        if isinstance(flags, Mapping):
            yield from ((word, value) for word, value in flags.items() if isinstance(value, bool))
            yield from (  # Anthropic's
                (word, value["supported"])
                for word, value in flags.items()
                if isinstance(value, Mapping) and isinstance(value.get("supported"), bool)
            )
    providers = entry.get("providers")
    for provider in providers if isinstance(providers, list) else ():
        if isinstance(provider, Mapping) and isinstance(provider.get("supports_tools"), bool):
            yield "tools", provider["supports_tools"]


def _info(flags: Mapping[str, bool], window: int | None) -> ModelInfo:
    has = frozenset(word for word, value in flags.items() if value)
    return ModelInfo(has, frozenset(flags) - has, window)


def _at(value: JSON, path: tuple[str, ...]) -> JSON:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _window(value: JSON) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value <= MAX_WINDOW else None
