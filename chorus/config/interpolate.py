"""`${VAR}` and `${VAR:-default}` in configuration values (C4).

The environment is an argument; a variable that is not set may be in the file that `VAR_FILE` names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from chorus.secret_files import from_environment

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")


class FromEnvironment(str):
    """The value of a string that is one reference and nothing else.

    `port = "${PORT:-11435}"` is a string in TOML; the mark lets the schema read it as the number
    that was meant, without reading `port = "11435"` as one.
    """

    __slots__ = ()


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """`text` with its references replaced; `$${` stands for a literal `${`.

    A default is used when the variable is unset or empty, as in a shell. Raises ValueError with a
    sentence that names the unset variable or its file, or says how references are written.
    """

    def value_of(reference: re.Match[str]) -> str:
        if reference[0] == "$${":
            return "${"
        name, default = reference["name"], reference["default"]
        if name is None:
            raise ValueError("expected `${VAR}` or `${VAR:-default}`; write `$${` for a literal `${`")
        value = from_environment(name, environ)
        if default is not None:
            return value or default
        if value is None:
            raise ValueError(f"environment variable {name} is not set; set it or write `${{{name}:-default}}`")
        return value

    result = _REFERENCE.sub(value_of, text)
    whole = _REFERENCE.fullmatch(text)
    return FromEnvironment(result) if whole and whole["name"] else result
