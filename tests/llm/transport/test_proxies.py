"""Through which proxy an upstream is reached (L1)."""

from __future__ import annotations

import sys

import pytest
from yarl import URL

from chorus.errors import ConfigError
from chorus.llm.transport.clients import Clients
from chorus.llm.transport.proxies import is_excepted, proxy_for, proxy_url, shown

PROXY = "http://proxy.lan:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [
        ("*", "api.example.com", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 8000, True),
        ("10.0.0.0/8", "11.1.2.3", 8000, False),
        ("10.0.0.0/8:8000", "10.1.2.3", 8000, True),
        ("10.1.2.3", "10.1.2.3", 80, True),
        ("10.1.2.3:81", "10.1.2.3", 80, False),
        ("corp.invalid:8000", "vllm.corp.invalid", 8000, True),
        ("corp.invalid:8000", "vllm.corp.invalid", 8001, False),
        ("corp.invalid", "corp.invalid", 80, True),
        (".corp.invalid", "vllm.corp.invalid", 80, True),
        ("*.corp.invalid", "vllm.corp.invalid", 80, True),
        ("corp.invalid", "mycorp.invalid", 80, False),
        ("CORP.invalid", "a.corp.invalid", 80, True),
        ("a.b, corp.invalid", "corp.invalid", 80, True),
        ("a.b corp.invalid", "corp.invalid", 80, True),
        ("fd00::/8", "fd12::1", 80, True),
        ("[fd00::/8]:80", "fd12::1", 80, True),
        ("[fd12::1]:81", "fd12::1", 80, False),
        ("fd12::1", "fd12::1", 80, True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 80, True),
        ("10.0.0.0/99,.,,:,[,]", "10.1.2.3", 80, False),
        ("", "10.1.2.3", 80, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, expected: bool) -> None:
    assert is_excepted(host, port, no_proxy) == expected


@pytest.mark.parametrize(
    ("variables", "url", "expected"),
    [
        ({"ALL_PROXY": PROXY}, "https://api.example.com/v1", PROXY),
        ({"all_proxy": PROXY}, "http://api.example.com/v1", PROXY),
        ({"ALL_PROXY": "http://other:1", "HTTPS_PROXY": PROXY}, "https://api.example.com/v1", PROXY),
        ({"HTTPS_PROXY": "proxy.lan:3128"}, "https://api.example.com/v1", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https://api.example.com/v1", PROXY),
        ({"HTTPS_PROXY": PROXY}, "http://api.example.com/v1", None),
        ({"ALL_PROXY": PROXY, "no_proxy": "10.0.0.0/8"}, "http://10.1.2.3:8000/v1", None),
        ({"ALL_PROXY": PROXY}, "http://127.0.1.9/v1", None),
        ({"ALL_PROXY": PROXY}, "http://[::1]/v1", None),
        ({"ALL_PROXY": "socks5h://p:1080"}, "http://api.example.com/v1", "socks5h://p:1080"),
    ],
)
def test_the_environment(
    environment: pytest.MonkeyPatch, variables: dict[str, str], url: str, expected: str | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    assert proxy_for(URL(url)) == (URL(expected) if expected else None)


def test_a_models_own_proxy_comes_first(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "http://other:1")
    assert Clients().through("none").proxy_for(URL("https://api.example.com")) is None
    assert Clients().through("proxy.lan:3128").proxy_for(URL("http://127.0.0.1:1")) == URL(PROXY)


def test_addresses_that_are_none(environment: pytest.MonkeyPatch) -> None:
    for address in ("ftp://a", "http://", "http://a:99999"):
        with pytest.raises(ValueError, match="expected"):
            proxy_url(address)
    environment.setenv("ALL_PROXY", "ftp://user:secret@a")
    with pytest.raises(ConfigError) as caught:
        proxy_for(URL("http://api.example.com"))
    assert "secret" not in caught.value.message


def test_socks_without_its_extra_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setitem(sys.modules, "aiohttp_socks", None)
    with pytest.raises(ConfigError, match="extra `socks`"):
        Clients().through("socks5://p:1080").proxy_for(URL("http://api.example.com"))


def test_a_proxy_is_shown_without_its_password() -> None:
    assert shown(URL("http://user:secret@proxy.lan:3128")) == PROXY
