"""Keys by environment: CHORUS__SECTION__KEY, `*_FILE`, and what is wrong with them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from chorus.config import Config, find, load, loads
from chorus.config.environment import SOURCE
from chorus.config.keys import root
from chorus.config.load import read_worker
from chorus.config.schema import TABLES
from chorus.config.secrets import secret_values
from chorus.errors import ConfigError
from chorus.redaction import KNOWN
from chorus.secret_files import MAX_BYTES
from chorus.snapshot import workflow_problems

FILE = '[[model]]\nname = "glm-4.6"\napi_base = "http://localhost:11434/v1"\n'
GLM = {"CHORUS__MODEL__0__NAME": "glm", "CHORUS__MODEL__0__API_BASE": "http://a:1/v1"}


def read(environ: Mapping[str, str], text: str = "") -> Config:
    return loads(text, source="test.toml" if text else SOURCE, environ=environ, find_problems=workflow_problems)


def problems(environ: Mapping[str, str], text: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(environ, text)
    return caught.value.message.splitlines()


def only_problem(environ: Mapping[str, str], text: str = FILE) -> str:
    [problem] = problems(environ, text)
    return problem


def secret(folder: Path, text: str = "sk-secret-0123456789\n") -> str:
    path = folder / "secret"
    path.write_text(text)
    return str(path)


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("SERVER__PORT", "8080", 8080),
            ("SERVER__PORT", " 8_080 ", 8080),
            ("server__port", "8080", 8080),
            ("SERVER__HOST", "0.0.0.0", "0.0.0.0"),
            ("SERVER__HOST", '"0.0.0.0"', "0.0.0.0"),
            ("SERVER__REQUIRE_AUTH", "true", True),
            ("SERVER__UI", "False", False),
            ("SERVER__LAME_DUCK_SECS", "2.5", 2.5),
            ("SERVER__LAME_DUCK_SECS", "5", 5),
            ("SERVER__KEYS_FILE", "/data/keys.json", "/data/keys.json"),
            ("SERVER__ALLOWED_HOSTS", '["a.lan", "b.lan"]', ("a.lan", "b.lan")),
            ("SERVER__ALLOWED_HOSTS__0", "a.lan", ("a.lan",)),
            ("STORAGE__URL", "redis://redis:6379/0", "redis://redis:6379/0"),
            ("TIMEOUTS__IDLE_TIMEOUT_SECS", "20", 20),
            ("WORKFLOW__TIMEOUTS__WORKER_TIMEOUT_SECS", "20", 20),
            ("TRACE__KEEP", "0", 0),
            ("MEMORY__MAX_NOTES", "7", 7),
            ("WORKER__CONSUL_TOKEN", "123", "123"),
        ],
    )
    def test_a_variable_sets_its_key(self, name: str, value: str, expected: object) -> None:
        found: Any = read({f"CHORUS__{name}": value}, FILE)
        for part in name.lower().split("__"):
            found = found if part.isdecimal() else getattr(found, part)
        assert (found.get_secret_value() if hasattr(found, "get_secret_value") else found) == expected

    def test_rates_are_texts_or_lists(self) -> None:
        rates = read({"CHORUS__LIMITS__REQUESTS": "60/minute", "CHORUS__LIMITS__KEYS__TOKENS": '["9/hour"]'}, FILE)
        assert [str(rate) for rate in (*rates.limits.requests, *rates.limits.keys.tokens)] == ["60/minute", "9/hour"]

    def test_the_environment_wins_over_the_file(self) -> None:
        config = read({"CHORUS__SERVER__PORT": "8080"}, "[server]\nport = 1\nhost = '0.0.0.0'\n" + FILE)
        assert (config.server.port, config.server.host) == (8080, "0.0.0.0")
        assert config.overrides == (("[server] port", "CHORUS__SERVER__PORT"),)

    def test_an_empty_variable_counts_as_not_set(self) -> None:
        config = read({"CHORUS__SERVER__PORT": "", "CHORUS__MODEL__0__API_KEY_FILE": ""}, FILE)
        assert (config.server.port, config.overrides) == (11435, ())

    def test_a_text_is_taken_as_it_is_and_a_table_has_references(self) -> None:
        key = {"CHORUS__MODEL__0__API_KEY": "a${b$${c", "KEY": "from-elsewhere"}
        assert _key(read(key, FILE)) == "a${b$${c"
        whole = '[{name = "glm", api_base = "http://a:1/v1", api_key = "${KEY}"}]'
        assert _key(read({"CHORUS__MODEL": whole, "KEY": "from-elsewhere"})) == "from-elsewhere"

    def test_variables_with_one_underscore_are_not_read(self) -> None:
        assert read({"CHORUS_SERVER_PORT": "x", "CHORUS_PORT": "tcp://10.0.0.1:1", "CHORUS_LOG": "info"}, FILE)


def _key(config: Config, index: int = 0) -> str | None:
    key = config.models[index].api_key
    return None if key is None else key.get_secret_value()


class TestNames:
    def test_models_by_number_need_no_file(self) -> None:
        config = read({**GLM, "CHORUS__MODEL__1__NAME": "kimi", "CHORUS__MODEL__1__PROVIDER": "demo"})
        assert [model.name for model in config.models] == ["glm", "kimi"]

    @pytest.mark.parametrize("form", ["[model]", "[[model]]"])
    def test_a_model_of_the_file_by_number_and_by_name(self, form: str) -> None:
        text = FILE.replace("[[model]]", form)
        for name in ("0", "GLM_4_6", "glm_4_6"):
            assert _key(read({f"CHORUS__MODEL__{name}__API_KEY": "k"}, text)) == "k"

    def test_a_name_that_no_file_has_is_a_new_model(self) -> None:
        config = read({"CHORUS__MODEL__QWEN__PROVIDER": "demo", "CHORUS__MODEL__Kimi__PROVIDER": "demo"}, FILE)
        assert [model.name for model in config.models] == ["glm-4.6", "Kimi", "qwen"]

    def test_a_number_is_the_next_one_at_most(self) -> None:
        problem = only_problem({"CHORUS__MODEL__2__API_KEY": "k"})
        assert problem == "CHORUS__MODEL__2__API_KEY: expected CHORUS__MODEL__1 as the next entry"

    def test_a_name_that_two_models_have_needs_a_number(self) -> None:
        text = FILE + FILE.replace("4.6", "4-6")
        assert "names 2 entries" in only_problem({"CHORUS__MODEL__GLM_4_6__API_KEY": "k"}, text)

    def test_a_key_where_a_number_belongs(self) -> None:
        assert "CHORUS__MODEL__0__API_KEY" in only_problem({"CHORUS__MODEL__API_KEY": "k"})

    @pytest.mark.parametrize(
        "whole",
        [
            '[{name = "a", provider = "demo"}, {name = "b", provider = "demo"}]',
            '[{"name": "a", "provider": "demo"},\n {"name": "b", "provider": "demo"}]',
        ],
    )
    def test_a_whole_array_takes_the_place_of_the_files_and_keys_change_it(self, whole: str) -> None:
        config = read({"CHORUS__MODEL": whole, "CHORUS__MODEL__1__RETRIES": "0"}, FILE)
        assert [(model.name, model.retries) for model in config.models] == [("a", 2), ("b", 0)]

    def test_replicas_by_number(self) -> None:
        text = '[[model]]\nname = "glm"\nreplicas = ["http://a:1", {api_base = "http://b:1"}]\n'
        [model] = read({"CHORUS__MODEL__GLM__REPLICAS__0__WEIGHT": "3"}, text).models
        assert [(replica.api_base, replica.weight) for replica in model.replicas] == [
            ("http://a:1", 3),
            ("http://b:1", 1),
        ]

    def test_an_address_takes_the_place_of_the_files_replicas(self) -> None:
        text = '[[model]]\nname = "glm"\nreplicas = ["http://a:1"]\n'
        [model] = read({"CHORUS__MODEL__GLM__API_BASE": "http://c:1"}, text).models
        assert (model.api_base, model.replicas) == ("http://c:1", ())

    def test_names_of_ones_own(self) -> None:
        environ = {
            "CHORUS__MODEL__0__HEADERS__X_TEAM": "7",
            "CHORUS__MODEL__0__EXTRA_BODY__TOP_K": "20",
            "CHORUS__MODEL__0__EXTRA_BODY__OPTIONS__MODE": "fast",
            "CHORUS__MODEL__0__EXTRA_BODY__SINCE": "2026-11-26",
            "CHORUS__LIMITS__MODELS__GLM_4_6__REQUESTS": "3/minute",
            "CHORUS__WORKFLOW__DOMAINS__API_EXAMPLE_COM__WORKER_TIMEOUT_SECS": "5",
        }
        text = FILE + '[limits.models."glm-4.6"]\ntokens = "9/hour"\n[workflow.domains."api.example.com"]\n'
        config = read(environ, text)
        [model] = config.models
        assert model.headers == {"x-team": "7"}
        assert model.extra_body == {"top_k": 20, "options": {"mode": "fast"}, "since": "2026-11-26"}
        assert str(config.limits.models["glm-4.6"].requests[0]) == "3/minute"
        assert config.workflow.domains["api.example.com"].worker_timeout_secs == 5

    def test_a_workflow_by_its_keys(self) -> None:
        environ = {
            "CHORUS__WORKFLOWS__PANEL__WORKERS": '["glm", "glm"]',
            "CHORUS__WORKFLOWS__PANEL__WORKERS__1__TEMPERATURE": "0.5",
            "CHORUS__WORKFLOWS__PANEL__SELECTOR": "glm",
            "CHORUS__WORKFLOWS__PANEL__QUORUM__MIN": "1",
            "CHORUS__WORKFLOWS__PANEL__PROGRESS": "true",
        }
        panel = read({**GLM, **environ}).workflows["panel"]
        assert panel.tree["workers"] == ["glm", {"ref": "glm", "temperature": 0.5}]
        assert (panel.tree["selector"], panel.tree["quorum"], panel.progress) == ("glm", {"min": 1}, True)

    @pytest.mark.parametrize("form", ["json", "native"])
    def test_a_part_of_the_files_workflow(self, form: str) -> None:
        tree = {"workers": ["glm-4.6", "glm-4.6"], "synthesizer": {"ref": "glm-4.6"}}
        own = {"json": json.dumps(tree)} if form == "json" else tree
        text = FILE + tomli_w.dumps({"workflow-integration": own})
        config = read({"CHORUS__WORKFLOW_INTEGRATION__SYNTHESIZER__TEMPERATURE": "0"}, text)
        assert config.integration is not None
        assert config.integration.tree == {**tree, "synthesizer": {"ref": "glm-4.6", "temperature": 0}}

    def test_json_takes_the_place_of_the_files_native_workflow(self) -> None:
        text = FILE + '[workflows.a]\nworkers = ["glm-4.6"]\nsynthesizer = "glm-4.6"\n'
        tree = {"workers": ["glm-4.6", "glm-4.6"], "selector": "glm-4.6"}
        assert read({"CHORUS__WORKFLOWS__A__JSON": json.dumps(tree)}, text).workflows["a"].tree == tree

    def test_every_table_can_be_set(self) -> None:
        assert tuple(root().fields or ()) == TABLES


class TestProblems:
    def test_all_at_once_each_with_its_variable(self) -> None:
        environ = {
            "CHORUS__SERVR__PORT": "1",
            "CHORUS__SERVER__PROT": "1",
            "CHORUS__SERVER__PORT": "70000",
            "CHORUS__SERVER__PORT__X": "1",
            "CHORUS__SERVER__HOST__": "1",
            "CHORUS__SERVER__API_KEYS": "x",
            "CHORUS__MODEL__0__API_KY_FILE": "/x",
            "CHORUS__MODEL__0__API_BASE": "localhost:1",
            "CHORUS__MODEL__NEW__API_KEY": "k",
            "CHORUS__MODEL__0__REPLICAS__A__WEIGHT": "1",
            "CHORUS__MODEL__0__PRICE": "{inptu = 1}",
            "CHORUS__TRACE": "[1, 2",
            "CHORUS__WORKFLOW__SIDE_MODEL": "nobody",
        }
        found = problems(environ, FILE + "[memory]\nmax_nots = 1\n")
        assert found == [
            "CHORUS__MODEL__0__API_KY_FILE: unknown key; did you mean `CHORUS__MODEL__0__API_KEY_FILE`?",
            "CHORUS__MODEL__0__REPLICAS__A__WEIGHT: expected the number of an entry, such as "
            "CHORUS__MODEL__0__REPLICAS__0",
            "CHORUS__SERVER__API_KEYS: not available in this version yet",
            "CHORUS__SERVER__HOST__: expected a name such as CHORUS__SERVER__PORT",
            "CHORUS__SERVER__PORT__X: unknown key; CHORUS__SERVER__PORT is a value, without keys of its own",
            "CHORUS__SERVER__PROT: unknown key; did you mean `CHORUS__SERVER__PORT`?",
            "CHORUS__SERVR__PORT: unknown key; did you mean `CHORUS__SERVER`?",
            "CHORUS__TRACE: neither a TOML value (Unclosed array) nor a JSON value (column 6: Expecting ',' delimiter)",
            'CHORUS__MODEL__0__API_BASE: found "localhost:1", expected an http or https address, such as '
            '"http://localhost:11434/v1"',
            "CHORUS__MODEL__0__PRICE inptu: unknown key; did you mean `input`?",
            'CHORUS__MODEL__NEW__API_BASE: missing; provider "openai" needs an address, such as '
            '"http://localhost:11434/v1"',
            "CHORUS__SERVER__PORT: found 70000, expected a port, a whole number from 1 to 65535",
            "test.toml: line 5: [memory] max_nots: unknown key; did you mean `max_notes`?",
            "CHORUS__WORKFLOW__SIDE_MODEL: there is no [[model]] of this name",
        ]

    def test_two_variables_for_one_key(self) -> None:
        problem = only_problem({"CHORUS__MODEL__0__API_KEY": "k", "CHORUS__MODEL__GLM_4_6__API_KEY": "k"})
        assert problem.endswith("sets the same key as CHORUS__MODEL__0__API_KEY; expected one of the two")

    def test_a_json_workflow_has_its_own_columns_not_the_files(self) -> None:
        text = FILE + "[workflow-integration]\njson = '{\"workers\": [1]}'\n"
        problem = only_problem({"CHORUS__WORKFLOW_INTEGRATION__JSON": '{"workers": ['}, text)
        assert problem.startswith("CHORUS__WORKFLOW_INTEGRATION__JSON: not valid JSON (line 1, column")

    def test_a_part_of_a_workflow_is_named_by_its_variable(self) -> None:
        text = FILE + '[workflow-integration]\nworkers = ["glm-4.6"]\nselector = "glm-4.6"\n'
        found = only_problem({"CHORUS__WORKFLOW_INTEGRATION__WORKERS__0__TEMPERATURE": "9"}, text)
        assert found.startswith("CHORUS__WORKFLOW_INTEGRATION__WORKERS__0__TEMPERATURE: ")

    def test_the_tree_of_a_variable_is_named_by_it(self) -> None:
        found = problems({**GLM, "CHORUS__WORKFLOWS__A": '{workers = ["glm"], selecter = "glm"}'})
        assert found
        assert all(problem.startswith("CHORUS__WORKFLOWS__A") for problem in found)

    @pytest.mark.parametrize("text", ["[null]", '{"port": null}', "[{]", "{a: NaN}", '{"a": 1, "a": 2}', "[" * 5000])
    def test_values_that_nothing_can_be_made_of(self, text: str) -> None:
        assert "CHORUS__SERVER__ALLOWED_HOSTS" in only_problem({"CHORUS__SERVER__ALLOWED_HOSTS": text})


class TestFind:
    def test_a_missing_default_file_is_no_error_where_the_environment_says_enough(self, tmp_path: Path) -> None:
        environ = {"HOME": str(tmp_path), **GLM}
        assert find(None, environ) is None
        config = load(None, environ)
        assert (config.source, config.models[0].name) == (SOURCE, "glm")

    @pytest.mark.parametrize("more", [{}, {"CHORUS__MODEL__0__NAME": ""}, {"CHORUS_MODEL": "x"}])
    def test_it_is_one_where_it_says_nothing(self, tmp_path: Path, more: dict[str, str]) -> None:
        with pytest.raises(ConfigError, match="CHORUS__MODEL__0__NAME"):
            find(None, {"HOME": str(tmp_path), **more})

    def test_a_named_file_has_to_exist_all_the_same(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="does not exist"):
            find(None, {**GLM, "CHORUS_CONFIG": str(tmp_path / "gone.toml")})

    def test_an_inference_worker_reads_its_own_table_only(self) -> None:
        environ = {"CHORUS__WORKER__NAME": "glm", "CHORUS__WORKER__PORT": "0", "CHORUS__SERVER__PROT": "1"}
        worker = read_worker(None, environ)
        assert (worker.name, worker.port) == ("glm", 0)
        with pytest.raises(ConfigError, match="CHORUS__WORKR__NAME: unknown key"):
            read_worker(None, {"CHORUS__WORKR__NAME": "glm"})


@pytest.mark.requirement("S2")
class TestFiles:
    @pytest.mark.parametrize(
        "name",
        [
            "MODEL__0__API_KEY_FILE",
            "MODEL__GLM_4_6__API_KEY_FILE",
            "MODEL__0__HEADERS__AUTHORIZATION_FILE",
            "MODEL__0__EXTRA_BODY__TOKEN_FILE",
            "MODEL__0__EXTRA_BODY__DEEPER__TOKEN_FILE",
            "MEMORY__API_KEY_FILE",
            "WORKER__CONSUL_TOKEN_FILE",
            "WORKER__OPTIONS__API_KEY_FILE",
        ],
    )
    def test_a_secret_in_a_file(self, tmp_path: Path, name: str) -> None:
        text = f"sk-{name.lower()}-0123456789"
        config = read({f"CHORUS__{name}": secret(tmp_path, f"{text}\r\n")}, FILE)
        assert text in _held(config)
        assert text not in repr(config.models)
        assert KNOWN.blotted(f"they said {text}") == "they said [redacted]"

    def test_other_secrets(self, tmp_path: Path) -> None:
        config = read({"CHORUS__STORAGE__URL_FILE": secret(tmp_path, "redis://:pass-0123@redis:6379/0")}, FILE)
        assert "pass-0123" in secret_values(config, {})
        consul = '[[model]]\nname = "glm"\ndiscovery = {type = "consul"}\n'
        config = read({"CHORUS__MODEL__GLM__DISCOVERY__TOKEN_FILE": secret(tmp_path, "consul-token")}, consul)
        assert "consul-token" in secret_values(config, {})

    def test_a_table_or_json_in_a_file(self, tmp_path: Path) -> None:
        whole = secret(tmp_path, '[{name = "a", provider = "demo"}]\n')
        assert read({"CHORUS__MODEL_FILE": whole, "CHORUS__MODEL__A__RETRIES": "0"}).models[0].retries == 0
        tree = secret(tmp_path, '{"workers": ["glm", "glm"],\n "selector": "glm"}\n')
        flow = read({**GLM, "CHORUS__WORKFLOW_INTEGRATION__JSON_FILE": tree}).integration
        assert flow is not None
        assert flow.tree["selector"] == "glm"

    def test_a_key_and_its_file_exclude_each_other(self, tmp_path: Path) -> None:
        environ = {"CHORUS__MODEL__0__API_KEY": "k", "CHORUS__MODEL__0__API_KEY_FILE": secret(tmp_path)}
        assert "sets the same key as CHORUS__MODEL__0__API_KEY" in only_problem(environ)

    def test_what_is_in_a_file_is_never_shown(self, tmp_path: Path) -> None:
        problem = only_problem({"CHORUS__SERVER__PORT_FILE": secret(tmp_path, "hunter2")})
        assert problem.startswith("CHORUS__SERVER__PORT_FILE: found what its file holds, expected a port")
        problem = only_problem({"CHORUS__MODEL__0__PRICE_FILE": secret(tmp_path, "{input = 'hunter2'}")})
        assert problem.startswith("CHORUS__MODEL__0__PRICE_FILE input: found what its file holds")

    def test_a_secret_in_place_of_a_path_is_not_shown(self) -> None:
        problem = only_problem({"CHORUS__MODEL__0__API_KEY_FILE": "sk-hunter2/0123456789abcdef"})
        assert problem == "CHORUS__MODEL__0__API_KEY_FILE: the file that it names does not exist"

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        for path, reason in (
            (str(tmp_path / "gone"), f"the file {tmp_path / 'gone'} does not exist"),
            (str(tmp_path), "is not a regular file"),
            (str(pipe), "is not a regular file"),
            (secret(tmp_path, "\n"), "is empty"),
            ("a\0b", "is no path"),
        ):
            assert reason in only_problem({"CHORUS__MODEL__0__API_KEY_FILE": path})
        large = secret(tmp_path, "x" * (MAX_BYTES + 1))
        assert f"has more than {MAX_BYTES} bytes" in only_problem({"CHORUS__MODEL__0__API_KEY_FILE": large})
        (tmp_path / "secret").write_bytes(b"\xff\xfe")
        assert "is not UTF-8" in only_problem({"CHORUS__MODEL__0__API_KEY_FILE": large})

    @pytest.mark.parametrize("reference", ["${KEY}", "${KEY:-other}"])
    def test_references_to_a_variable_that_is_in_a_file(self, tmp_path: Path, reference: str) -> None:
        text, path = FILE + f'api_key = "{reference}"\n', secret(tmp_path)
        assert _key(read({"KEY_FILE": path}, text)) == "sk-secret-0123456789"
        assert _key(read({"KEY": "", "KEY_FILE": path}, text)) == "sk-secret-0123456789"
        assert _key(read({"KEY": "mine", "KEY_FILE": path}, text)) == "mine"
        problem = only_problem({"KEY_FILE": path + "-gone"}, text)
        assert f"KEY_FILE: the file {path}-gone does not exist" in problem


def _held(config: Config) -> str:
    """Everything that the configuration holds, secrets included."""
    secrets = secret_values(config, {})
    return " ".join((*secrets, *map(str, config.worker.options.values()), *map(str, config.models[0].extra_body)))


JSON = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c_d"]), JSON, min_size=1))
def test_json_sets_what_the_same_table_in_a_file_sets(table: dict[str, object]) -> None:
    environ = {"CHORUS__MODEL__0__EXTRA_BODY": json.dumps(table).replace("${", "")}
    text = FILE + "extra_body = " + _inline(json.loads(environ["CHORUS__MODEL__0__EXTRA_BODY"])) + "\n"
    assert read(environ, FILE).models[0].extra_body == read({}, text).models[0].extra_body


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


PARTS = st.sampled_from(
    [
        "SERVER",
        "PORT",
        "MODEL",
        "0",
        "1",
        "GLM",
        "API_KEY",
        "API_BASE",
        "REPLICAS",
        "WORKFLOWS",
        "A",
        "JSON",
        "WORKERS",
        "HEADERS",
        "EXTRA_BODY",
        "LIMITS",
        "MODELS",
        "WORKFLOW_INTEGRATION",
        "NAME",
        "DISCOVERY",
        "TYPE",
        "MEMORY",
        "COMMAND",
        "WORKER",
        "OPTIONS",
        "STORAGE",
        "URL",
        "SELECTOR",
        "PRICE",
        "_FILE",
        "x",
    ]
) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="=\0"), max_size=6)
VALUES = st.sampled_from(["1", "true", "[]", "{}", '["glm"]', '{"a": 1}', "consul", "[{", "60/minute"]) | st.text()
VARIABLES = st.dictionaries(
    st.lists(PARTS, max_size=6).map(lambda parts: "CHORUS__" + "__".join(parts)), VALUES, max_size=6
)


@given(VARIABLES, st.sampled_from(["", FILE, FILE + '[workflow-integration]\njson = \'{"workers": ["a"]}\'\n']))
def test_whatever_the_environment_holds_only_config_errors_come_of_it(environ: dict[str, str], text: str) -> None:
    try:
        config = read(environ, text)
    except ConfigError:
        return
    assert len(config.overrides) <= len(environ)


@given(VARIABLES)
def test_every_variable_that_is_not_empty_sets_something_or_is_a_problem(environ: dict[str, str]) -> None:
    given = {name for name, value in environ.items() if value}
    try:
        names = {variable for _, variable in read(environ, FILE).overrides}
    except ConfigError:
        return
    assert names == given
