"""The configuration file: what it may say, and reading it.

    toml_text, interpolate             text → plain data, with its lines and with `${VAR}` filled in
    schema, models, timeouts, table    what may stand in it, every default once
    workflows                          a workflow's tree, from JSON or native tables
    report                             faults → sentences without secrets
    environment, keys, written_values  CHORUS__SECTION__KEY in place of what the file says
    overrides                          which variable set what
    migrate                            files of the old form
    load                               finding the file, and all of the above together

Above: `cli`, `serving`, `server/app`, `service` and `snapshot`, which alone hold a `Config`. Below:
the words everyone speaks, and the names of providers.
"""

from chorus.config.load import find, load, loads
from chorus.config.migrate import Migration, migrate, rewrite
from chorus.config.models import ModelConfig, PriceConfig
from chorus.config.schema import Config, ServerConfig, TraceConfig, WorkflowConfig, WorkflowSettings
from chorus.config.timeouts import TimeoutSettings

__all__ = [
    "Config",
    "Migration",
    "ModelConfig",
    "PriceConfig",
    "ServerConfig",
    "TimeoutSettings",
    "TraceConfig",
    "WorkflowConfig",
    "WorkflowSettings",
    "find",
    "load",
    "loads",
    "migrate",
    "rewrite",
]
