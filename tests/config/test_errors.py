"""What errors say, all at once (C2), and what they never say (S2)."""

import os
from pathlib import Path

import pytest

from chorus.config import loads
from chorus.config.secrets import secret_values
from chorus.errors import ConfigError
from chorus.snapshot import workflow_problems

GOLDEN = Path(__file__).parent / "golden"

SECRETS = {
    "IN_KEY": "planted-key",
    "IN_HEADER": "planted-header",
    "IN_BODY": "planted-body",
    "IN_ADDRESS": "planted-address",
    "IN_NUMBER": "planted-number",
}


@pytest.mark.requirement("C2")
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.toml")), ids=lambda path: path.stem)
def test_a_file_with_many_errors_reports_them_all(path: Path) -> None:
    """`CHORUS_WRITE_GOLDEN=1` writes the expected text anew."""
    with pytest.raises(ConfigError) as caught:
        loads(path.read_text(), source=path.name, environ={})
    golden = path.with_suffix(".txt")
    if os.environ.get("CHORUS_WRITE_GOLDEN"):
        golden.write_text(caught.value.message + "\n")
    assert caught.value.message + "\n" == golden.read_text()
    assert "hunter2" not in caught.value.message


@pytest.mark.requirement("S2")
def test_a_good_configuration_shows_no_secret() -> None:
    config = loads(
        """
        [[model]]
        name = "a"
        api_base = "https://example.com"
        api_key = "${IN_KEY}"
        headers = { "X-Key" = "${IN_HEADER}" }
        extra_body = { token = "${IN_BODY}", more = ["${IN_BODY}"] }
        """,
        environ=SECRETS,
    )
    assert config.models[0].headers == {"X-Key": "planted-header"}
    for text in (repr(config), str(config), repr(config.models), str(config.models[0])):
        assert "planted" not in text


@pytest.mark.requirement("S2")
@pytest.mark.parametrize("planted", ["planted-key", "planted\nkey", "sk-planted-0123456789abcdef", "planted" * 9])
@pytest.mark.parametrize(
    "keys",
    [
        "api_key = [{0}]",
        "api_key = {{ key = {0} }}",
        "api_kee = {0}",
        "headers = {0}",
        'headers = {{ "bad name" = {0} }}',
        "headers = {{ Authorization = [{0}] }}",
        "extra_body = [{0}]",
        "extra_body = {{ a = {0}, b = 1979-05-27 }}",
        'api_base = "https://{1}@example.com"',
        'api_base = "https://user:{1}@example.com"',
        'api_base = "https://example.com/?key={1}"',
        "price = {{ input = 1, secret = {0} }}",
        "replicas = [{{ api_key = {0} }}]",
    ],
)
def test_an_error_shows_no_secret_that_stands_in_the_file(keys: str, planted: str) -> None:
    bare = planted.replace("\n", "-")
    quoted = '"' + planted.replace("\n", "\\n") + '"'
    text = f'[[model]]\nname = "a"\ntemperature = 3\n{keys.format(quoted, bare)}'
    with pytest.raises(ConfigError) as caught:
        loads(text, environ={})
    assert len(caught.value.problems) >= 2
    assert "planted" not in caught.value.message
    assert "planted" not in repr(caught.value)


@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    "key",
    [
        *("name", "provider", "model", "api_base", "api_key", "temperature", "auto_temperature"),
        *("max_concurrency", "capabilities", "price", "context_window", "headers", "extra_body", "unknown"),
    ],
)
def test_an_error_shows_no_value_that_the_environment_gave(key: str) -> None:
    text = f'[server]\nport = "${{IN_NUMBER}}"\nhost = ["${{IN_NUMBER}}"]\n[[model]]\n{key} = "${{IN_KEY}}"'
    with pytest.raises(ConfigError) as caught:
        loads(text, environ=SECRETS)
    assert "planted" not in caught.value.message
    assert caught.value.__cause__ is None


@pytest.mark.requirement("S2")
@pytest.mark.parametrize("key", ["temperature", "provider", "max_concurrency", "capabilities", "price"])
def test_a_key_pasted_into_the_wrong_place_is_not_shown(key: str) -> None:
    for secret in ("sk-planted-0123456789abcdef", "planted0123456789abcdef0123456789"):
        with pytest.raises(ConfigError) as caught:
            loads(f'[[model]]\nname = "a"\n{key} = "{secret}"', environ={})
        assert "planted" not in caught.value.message


MODEL = '[[model]]\nname = "a"\nprovider = "demo"\n'


@pytest.mark.requirement("C2")
@pytest.mark.requirement("S2")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://localhost:port/0", "whose port is a number from 1 to 65535"),
        ("redis://localhost:0/0", "whose port is a number from 1 to 65535"),
        ("redis://localhost:70000/0", "whose port is a number from 1 to 65535"),
        ("rediss://:planted/word@localhost:6379/0", "whose port is a number from 1 to 65535"),
        ("redis://localhost/planted", "whose path is the number of a database"),
        ("redis://localhost/0/1", "whose path is the number of a database"),
        ("redis://[::1/0", "an IPv6 address stands in brackets"),
        ("unix://", "expected the path of a socket"),
        ("mysql://planted@localhost", 'expected "memory:", "sqlite:///" with the path of a file, or the address of'),
        ("localhost:6379", "or the address of a Redis"),
        ("memory", "or the address of a Redis"),
        ("memory:planted", "or the address of a Redis"),
        ("sqlite://planted", 'expected "sqlite:///" with the path of a file'),
        ("sqlite:///", 'expected "sqlite:///" with the path of a file'),
        ("sqlite:////tmp/planted#1.db", 'expected "sqlite:///" with the path of a file'),
        ("sqlite:////tmp/planted.db?mode=ro", 'expected "sqlite:///" with the path of a file'),
    ],
)
def test_a_wrong_address_of_a_store_is_a_sentence_without_its_password(address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        loads(f'[storage]\nurl = "{address}"\n{MODEL}', environ={})
    assert "[storage] url" in caught.value.message
    assert "planted" not in caught.value.message


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(
    "address",
    [
        "memory:",
        "sqlite:///chorus.db",
        "sqlite:////var/lib/chorus/chorus%20.db",
        "redis://localhost",
        "redis://localhost:6379",
        "redis://localhost:6379/",
        "redis://:planted-key@[::1]:6379/15",
        "redis:///2",
        "rediss://me:p%40ss%2Fword@redis.example.com:6380/0?socket_timeout=1",
        "unix:///run/redis.sock?db=1",
        "redis://:${IN_KEY}@localhost:${IN_NUMBER}/0",
    ],
)
def test_a_right_address_of_a_store_is_taken(address: str) -> None:
    config = loads(f'[storage]\nurl = "{address}"\n{MODEL}', environ={**SECRETS, "IN_NUMBER": "6379"})
    url = config.storage.url
    assert url is not None
    assert url.get_secret_value() == address.replace("${IN_KEY}", "planted-key").replace("${IN_NUMBER}", "6379")
    assert "planted" not in repr(config)


@pytest.mark.requirement("C2")
@pytest.mark.requirement("M5")
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('provider = "mcp"', '[memory] provider: "mcp" needs either `url` or `command`'),
        ('provider = "mcp"\nurl = "http://a/mcp"\ncommand = ["b"]', '"mcp" needs either `url` or `command`'),
        ('url = "http://a/mcp"', '[memory] url: this needs `provider = "mcp"`'),
        ('provider = "mcp"\nurl = "ftp://a"', "expected an address such as https://example.com/mcp"),
        ('provider = "mcp"\ncommand = []', "expected a list of words"),
        ('provider = "redis"', 'expected "store" or "mcp"'),
    ],
)
def test_where_the_notes_on_users_are_is_clear(table: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"[memory]\n{table}\n{MODEL}", environ={}, find_problems=workflow_problems)
    assert said in caught.value.message


@pytest.mark.requirement("S2")
def test_the_key_of_a_memory_server_is_a_secret() -> None:
    table = '[memory]\nprovider = "mcp"\nurl = "https://me:planted-word@a/mcp"\napi_key = "planted-key"\n'
    config = loads(table + MODEL, environ={})
    assert {"planted-key", "planted-word"} <= secret_values(config, {})
    assert "planted" not in repr(config)
