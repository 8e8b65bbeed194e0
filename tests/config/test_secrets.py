"""Which values of a configuration are secrets (S2)."""

from __future__ import annotations

import base64

import pytest

from chorus.config import loads
from chorus.config.secrets import secret_values

pytestmark = pytest.mark.requirement("S2")

CONFIG = """
[storage]
url = "redis://app:p%40ss-word-1@127.0.0.1:6379/0?password=in-the-query"

[[model]]
name = "glm"
api_key = "key-of-the-model"
replicas = [{ api_base = "http://a", api_key = "key-of-a-replica" }, "http://b"]
extra_body = { max_tokens = 9, user = "nobody", provider = { access_token = "in-the-body", order = ["one", "two"] } }

[model.headers]
X-Gateway = "corp-gw-77ab"
Authorization = "Bearer in-a-header"
Proxy-Authorization = "Basic BASIC"
Cookie = "session=0123456789abcdef; theme=dark-and-quiet-colours"
X-Title = "Chorus"
anthropic-version = "2023-06-01"
""".replace("BASIC", base64.b64encode(b"me:behind-a-colon").decode())


def test_all_that_is_secret_and_nothing_else() -> None:
    config = loads(CONFIG, environ={})
    found = secret_values(config, {"https": "http://me:proxy%21pass@proxy:3128", "no": "localhost"})
    assert found == {
        "p%40ss-word-1",
        "p@ss-word-1",
        "in-the-query",
        "key-of-the-model",
        "key-of-a-replica",
        "in-the-body",
        "corp-gw-77ab",
        "in-a-header",
        base64.b64encode(b"me:behind-a-colon").decode(),
        "me:behind-a-colon",
        "behind-a-colon",
        "session=0123456789abcdef; theme=dark-and-quiet-colours",
        "0123456789abcdef",
        "proxy%21pass",
        "proxy!pass",
    }


def test_what_cannot_be_read_is_no_secret_and_no_error() -> None:
    config = loads('[[model]]\nname = "m"\nprovider = "demo"\nheaders = { A = "Basic !!!" }\n', environ={})
    assert secret_values(config, {"http": "http://[broken"}) == {"!!!"}
