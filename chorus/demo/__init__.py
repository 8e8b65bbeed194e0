"""Demo models: they really answer, in-process, without a network or a key (M1).

Above: the provider table (`chorus.providers`) names `provider.demo` for `provider = "demo"`.
Inside, from the top:

- `provider` streams what `models` lets the model of a name perform;
- `judge` reads the engine's prompts (`stage`), scores the candidates (`verdict`) and answers;
- `skills` asks the specialists `librarian` (▸ `handbook`), `abacus` (▸ `arithmetic`) and `scribe`,
  each of which makes a `task` of a `question`;
- `manners` and `language` are what all of them share.
"""

from chorus.demo.models import DEMO_MODELS
from chorus.demo.provider import DemoUpstream

__all__ = ["DEMO_MODELS", "DemoUpstream"]
