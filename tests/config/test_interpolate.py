"""References to environment variables: C4."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from chorus.config import Config, loads
from chorus.config.interpolate import interpolate
from chorus.errors import ConfigError

pytestmark = pytest.mark.requirement("C4")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain $ and $VAR", "plain $ and $VAR"),
        ("${KEY}", "value"),
        ("a${KEY}b${KEY}", "avaluebvalue"),
        ("${GONE:-text}", "text"),
        ("${GONE:-}", ""),
        ("${EMPTY:-text}", "text"),
        ("${EMPTY}", ""),
        ("${KEY:-text}", "value"),
        ("$${KEY}", "${KEY}"),
        ("${GONE:-http://a:1/b}", "http://a:1/b"),
        ("${NESTED}", "${KEY}"),  # what a variable holds is text, not a template
    ],
)
def test_references_are_replaced(text: str, result: str) -> None:
    assert interpolate(text, {"KEY": "value", "EMPTY": "", "NESTED": "${KEY}"}) == result


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(ValueError, match="environment variable GONE is not set"):
        interpolate("${GONE}", {})


@pytest.mark.parametrize("text", ["${", "${}", "${1}", "${A", "${A-b}", "${A B}"])
def test_a_reference_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected `\$\{VAR\}`"):
        interpolate(text, {"A": "x"})


@given(st.text(st.sampled_from("${}:-AB \n\\"), max_size=30), st.dictionaries(st.sampled_from("AB"), st.text()))
def test_nothing_but_value_errors(text: str, environ: dict[str, str]) -> None:
    try:
        result = interpolate(text, environ)
    except ValueError:
        return
    assert isinstance(result, str)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_variable_holds_only_config_errors_come_of_it(value: str) -> None:
    keys = ("name", "api_base", "api_key", "provider", "temperature", "auto_temperature", "max_concurrency", "price")
    for key in keys:
        try:
            loads(f'[model]\n{key} = "${{A}}"\nheaders = {{ x = "${{A}}" }}', environ={"A": value})
        except ConfigError:
            continue


def test_a_lone_reference_may_stand_for_a_number_or_a_boolean() -> None:
    config = loads(
        """
        [server]
        port = "${PORT}"
        heartbeat_secs = "${BEAT:-2.5}"
        [[model]]
        name = "${NUMBER}"
        provider = "demo"
        auto_temperature = "${YES}"
        max_concurrency = "${NONE:-}"
        temperature = "${TEMPERATURE}"
        price = { input = "${PORT}" }
        extra_body = { user = "${NUMBER}" }
        """,
        environ={"PORT": "8080", "NUMBER": "123", "YES": "true", "TEMPERATURE": "none"},
    )
    (model,) = config.models
    assert (config.server.port, config.server.heartbeat_secs) == (8080, 2.5)
    assert (model.name, model.auto_temperature, model.max_concurrency) == ("123", True, None)
    assert model.temperature == "none"
    assert model.price is not None
    assert model.price.input == 8080
    assert type(model.extra_body["user"]) is str


@pytest.mark.parametrize("port", ['"11435"', '"1${PORT}"'])
def test_other_strings_are_no_numbers(port: str) -> None:
    with pytest.raises(ConfigError, match="expected a port"):
        loads(f'[server]\nport = {port}\n[[model]]\nname = "a"\nprovider = "demo"', environ={"PORT": "1435"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[memory]\nprovider = "mcp"\nurl = "http://a:1"\napi_key = "${KEY}"', lambda config: config.memory.api_key),
        ('[storage]\nurl = "redis://:${KEY}@a:1/0"', lambda config: config.storage.url),
        ('[worker]\nconsul_token = "${KEY}"', lambda config: config.worker.consul_token),
    ],
    ids=["memory", "storage", "worker"],
)
def test_tables_that_hold_a_secret_have_references(text: str, value: Callable[[Config], SecretStr]) -> None:
    config = loads(f'[[model]]\nname = "m"\nprovider = "demo"\n{text}\n', environ={"KEY": "a-secret"})
    assert "a-secret" in value(config).get_secret_value()


@pytest.mark.parametrize(("key", "sent"), [("a-secret\n", "a-secret"), ("", None)])
def test_a_key_of_a_memory_server_is_read_as_one_of_a_model(key: str, sent: str | None) -> None:
    text = '[[model]]\nname = "m"\nprovider = "demo"\n[memory]\napi_key = "${KEY:-}"\n'
    read = loads(text, environ={"KEY": key}).memory.api_key
    assert (read.get_secret_value() if read else None) == sent
