"""`discovery` of a model: what it may say, and how its errors read (D2, C2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chorus.config import loads
from chorus.config.secrets import secret_values
from chorus.errors import ConfigError
from chorus.llm.transport.clients import Clients
from chorus.snapshot import compose

pytestmark = [pytest.mark.requirement("D2"), pytest.mark.requirement("C2")]
MODEL = '[[model]]\nname = "glm"\n'


def error(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        loads(MODEL + text, environ={})
    (problem,) = raised.value.problems
    return str(problem)


ERRORS = {
    "discovery = {}": 'discovery.type: missing; expected "consul", "dns" or "static"',
    'discovery = { type = "consol" }': 'discovery.type: found "consol", expected "consul", "dns" or "static"',
    'discovery = "consul"': 'discovery: found "consul", expected a table {type = "consul", "dns" or "static", ...}',
    'discovery = { type = "consul", wait = 3 }': "discovery.wait: unknown key; did you mean `wait_secs`?",
    'discovery = { type = "consul", wait_secs = 0.5 }': "wait_secs: found 0.5, expected a number of seconds from 1 to 600",
    'discovery = { type = "dns" }': 'discovery.name: missing; type "dns" needs a name',
    'discovery = { type = "dns", name = "a b" }': 'discovery.name: found "a b", expected a DNS name',
    'discovery = { type = "dns", name = "a", port = 70000 }': "discovery.port: found 70000, expected a port",
    'discovery = { type = "dns", name = "a", server = "ns.lan" }': "expected the IP address of a DNS server",
    'discovery = { type = "dns", name = "a", service = "b" }': 'expected no such key with type "dns"; it belongs to "consul"',
    'discovery = { type = "static" }': 'discovery.replicas: missing; type "static" needs a list of addresses',
    'discovery = { type = "static", replicas = ["a"] }': "discovery.replicas[0].api_base: found",
    'discovery = { type = "static", replicas = ["grpc://a:1"] }': "expected an http or https address",
    'discovery = { type = "consul", address = "http://u:secret@h" }': "found a string of 17 characters, expected the http",
    'discovery = { type = "consul", token = "geheim-\u00e4" }': "discovery.token: found a string of 8 characters",
    'discovery = { type = "consul", api_base = "http://h:1" }': "expected an address with {host} and {port}",
    'discovery = { type = "consul", api_base = "grpc://{host}:{port}" }': "expected an http or https address",
    'api_base = "http://a/v1"\ndiscovery = { type = "consul" }': "found beside `discovery`; expected one of the two",
    'replicas = ["http://a/v1"]\ndiscovery = { type = "consul" }': "expected either `replicas` or `discovery`",
    'provider = "demo"\ndiscovery = { type = "consul" }': 'expected no discovery: provider "demo" has no addresses',
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_say_where_and_what(text: str) -> None:
    said = error(text)
    assert ERRORS[text] in said
    assert said.startswith("line ")
    assert '[[model]] "glm" ' in said
    assert "secret" not in said
    assert "geheim" not in said


def test_a_token_is_a_secret() -> None:
    config = loads(
        MODEL + 'discovery = { type = "consul", token = "${T}" }\n[worker]\nconsul_token = "worker-token"',
        environ={"T": "tok-12345"},
    )
    assert {"tok-12345", "worker-token"} <= secret_values(config, {})
    assert "tok-12345" not in repr(config)


@pytest.mark.parametrize(
    ("provider", "address"),
    [("openai", "http://{host}:{port}/v1"), ("ollama", "http://{host}:{port}"), ("grpc", "grpc://{host}:{port}")],
)
def test_the_address_of_an_instance_is_what_the_provider_is_used_to(provider: str, address: str) -> None:
    config = loads(MODEL + f'provider = "{provider}"\ndiscovery = {{ type = "consul" }}', environ={})
    assert config.models[0].discovery is not None
    assert config.models[0].discovery.api_base_of(provider) == address


def test_the_service_is_named_after_what_the_upstream_calls_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "consul.lan:8500")
    config = loads(MODEL + 'model = "glm-4.6"\ndiscovery = { type = "consul" }', environ={})
    discovered = compose(config, Clients()).models["glm"].discovered
    assert discovered is not None
    assert discovered.source.description == "consul service llm-glm-4.6 at http://consul.lan:8500"
    monkeypatch.setenv("CONSUL_HTTP_ADDR", "unix:///consul.sock")
    with pytest.raises(ConfigError, match="CONSUL_HTTP_ADDR: expected the http or https address"):
        compose(config, Clients())


def test_a_static_list_is_the_same_as_replicas() -> None:
    listed = 'replicas = ["http://a/v1", { api_base = "http://b/v1", api_key = "k", weight = 2 }]'
    static = loads(MODEL + f'discovery = {{ type = "static", {listed} }}', environ={})
    plain = loads(MODEL + listed, environ={})
    pools = [compose(config, Clients()).models["glm"].pool for config in (static, plain)]
    assert pools[0].addresses == pools[1].addresses
    assert compose(static, Clients()).models["glm"].discovered is None
    assert static.models[0].first_base == "http://a/v1"


@pytest.mark.parametrize("provider", ["openai", "ollama"])
def test_a_model_without_an_instance_embeds_as_its_provider_does(provider: str, tmp_path: Path) -> None:
    config = loads(MODEL + f'provider = "{provider}"\ndiscovery = {{ type = "consul" }}', environ={})
    model = compose(config, Clients()).models["glm"]
    assert model.pool.replicas == ()
    assert model.embedder is not None
