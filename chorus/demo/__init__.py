"""Demo models: they really answer, in-process, without a network or a key (M1).

Above: the provider table (`chorus.providers`) names `provider` as the factory for `provider =
"demo"`. Inside, from the top: `upstream` performs a `script`; `models` names them (`librarian`,
`abacus`, `scribe`, `generalist`, `moody`, `judge`); below those are plain functions over text:
`question`, `task`, `handbook`, `wording` ▸ `expression` ▸ `arithmetic`, `instruction`.
"""

from chorus.demo.models import DEMO_MODELS
from chorus.demo.upstream import DemoUpstream

__all__ = ["DEMO_MODELS", "DemoUpstream"]
