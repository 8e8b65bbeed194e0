"""Finding a configuration file and reading it: C1 to C5, C8, C9."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.config import Config, find, load, loads
from chorus.errors import ConfigError

ROOT = Path(__file__).parents[2]
MODEL = '[[model]]\nname = "glm"\napi_base = "http://localhost:11434/v1"\n'


def read(text: str, **environ: str) -> Config:
    return loads(text, source="test.toml", environ=environ)


def errors(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.requirement("C1")
class TestFind:
    def test_the_option_beats_the_variable_beats_the_users_own_file(self, tmp_path: Path) -> None:
        own = tmp_path / ".config/chorus/config.toml"
        named, option = tmp_path / "named.toml", tmp_path / "option.toml"
        own.parent.mkdir(parents=True)
        for path in (own, named, option):
            path.write_text(MODEL)
        environ = {"HOME": str(tmp_path)}
        assert find(None, environ) == own
        environ["CHORUS_CONFIG"] = str(named)
        assert find(None, environ) == named
        assert find(option, environ) == option

    def test_xdg_config_home_moves_the_users_own_file(self, tmp_path: Path) -> None:
        own = tmp_path / "xdg/chorus/config.toml"
        own.parent.mkdir(parents=True)
        own.write_text(MODEL)
        assert find(None, {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path / "xdg")}) == own

    @pytest.mark.parametrize("is_option", [True, False])
    def test_a_named_file_that_is_missing_is_an_error_that_names_it(self, tmp_path: Path, is_option: bool) -> None:
        own = tmp_path / ".config/chorus/config.toml"
        own.parent.mkdir(parents=True)
        own.write_text(MODEL)
        missing = tmp_path / "missing.toml"
        environ = {"HOME": str(tmp_path), "CHORUS_CONFIG": str(own if is_option else missing)}
        with pytest.raises(ConfigError, match=r"missing\.toml does not exist"):
            find(missing if is_option else None, environ)

    def test_no_file_anywhere_tells_the_three_ways_on(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            find(None, {"HOME": str(tmp_path)})
        assert all(way in caught.value.message for way in ("chorus init", "--config", "chorus demo"))

    def test_a_directory_is_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="is a directory"):
            find(tmp_path, {})


class TestRead:
    @pytest.mark.requirement("T4")
    @pytest.mark.parametrize("name", ["config-example.toml", "config-json-format-example.toml", "test-old-config.toml"])
    def test_the_examples_load_without_any_variable_set(self, name: str) -> None:
        config = load(ROOT / name, {})
        assert config.warnings == ()
        assert config.source.endswith(name)
        defined = {model.name for model in config.models}
        trees = [flow.tree for flow in (config.integration, *config.workflows.values()) if flow]
        assert set().union(*map(_references, trees)) <= defined

    @pytest.mark.requirement("C3")
    def test_the_original_three_sections_are_valid(self) -> None:
        config = read('[server]\nhost = "127.0.0.1"\nport = 11435\n' + MODEL + "[workflow.timeouts]\n")
        assert config.server.port == 11435
        assert config.server.drain_timeout_secs == 30
        assert config.trace.keep == 1000

    @pytest.mark.requirement("C4")
    def test_a_single_model_table_is_accepted(self) -> None:
        config = read(MODEL.replace("[[model]]", "[model]"))
        assert [model.name for model in config.models] == ["glm"]
        assert errors('[model]\nname = "glm"\n') == [
            'line 1: [[model]] "glm" api_base: missing; provider "openai" needs an address, '
            'such as "http://localhost:11434/v1"'
        ]

    @pytest.mark.requirement("C4")
    def test_a_model_has_the_defaults_of_the_specification(self) -> None:
        (model,) = read(MODEL).models
        assert model.provider == "openai"
        assert model.upstream_name == "glm"
        assert model.temperature is None
        assert model.auto_temperature is False
        assert model.api_key is None

    @pytest.mark.requirement("C4")
    def test_addresses_lose_their_slash_and_keys_the_line_break_of_their_file(self) -> None:
        text = MODEL.replace("/v1", "/v1/") + 'api_key = "${KEY}"\nmodel = "glm-4.6"'
        (model,) = read(text, KEY="secret\n").models
        assert model.api_base == "http://localhost:11434/v1"
        assert model.api_key is not None
        assert model.api_key.get_secret_value() == "secret"
        assert model.upstream_name == "glm-4.6"

    @pytest.mark.requirement("C4")
    @pytest.mark.parametrize(("value", "meant"), [("0", 0.0), ("2", 2.0), ("0.7", 0.7), ('"none"', "none")])
    def test_good_temperatures(self, value: str, meant: object) -> None:
        assert read(f"{MODEL}temperature = {value}").models[0].temperature == meant

    @pytest.mark.requirement("C8")
    @pytest.mark.parametrize("value", ["-0.1", "2.1", "true", '"0.7"', "nan", "inf", '"None"', "[]", "1979-05-27"])
    def test_bad_temperatures_are_refused(self, value: str) -> None:
        (error,) = errors(f"{MODEL}temperature = {value}")
        assert error.startswith('line 4: [[model]] "glm" temperature: found ')

    @pytest.mark.requirement("C8")
    def test_duplicate_names_are_refused(self) -> None:
        (error,) = errors(MODEL + MODEL)
        assert error == 'line 5: [[model]] "glm" name: model #1 has this name already; expected a unique name'

    @pytest.mark.requirement("C9")
    @pytest.mark.parametrize("name", ["chorus", "chorus:latest", "chorus/quick"])
    def test_the_names_of_workflows_are_reserved(self, name: str) -> None:
        (error,) = errors(MODEL.replace("glm", name))
        assert "the workflows' own" in error

    @pytest.mark.requirement("C4")
    def test_a_demo_model_needs_no_address(self) -> None:
        assert read('[[model]]\nname = "a"\nprovider = "demo"').models[0].api_base is None

    @pytest.mark.requirement("C3")
    def test_what_comes_later_is_said_plainly(self) -> None:
        (error,) = errors("[server]\napi_keys = []\n" + MODEL)
        assert "not available in this version yet" in error

    @pytest.mark.parametrize("address", ["localhost:1", "ftp://a", "http://", "http://a:x", "http://a b", "http://["])
    def test_addresses_that_cannot_be_reached_are_refused(self, address: str) -> None:
        (error,) = errors(f'[[model]]\nname = "a"\napi_base = "{address}"')
        assert "expected an http or https address" in error

    @pytest.mark.requirement("A7")
    def test_origins_lose_their_slash_and_hosts_are_no_addresses(self) -> None:
        config = read('[server]\ncors_origins = ["https://a.example/", "*"]\nallowed_hosts = ["a.lan"]\n' + MODEL)
        assert config.server.cors_origins == ("https://a.example", "*")
        (error,) = errors(f'[server]\nallowed_hosts = ["a.lan", "http://b"]\n{MODEL}')
        assert error.startswith('line 2: [server] allowed_hosts[1]: found "http://b", expected a host name')

    def test_a_byte_order_mark_is_no_error(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b"\xef\xbb\xbf" + MODEL.encode())
        assert load(path, {}).models

    def test_a_file_that_is_not_utf8_is_one(self, tmp_path: Path) -> None:
        path = tmp_path / "config.toml"
        path.write_bytes(b"\n# \xff")
        with pytest.raises(ConfigError, match=r"config\.toml: line 2: encoding: not UTF-8"):
            load(path, {})

    def test_a_configuration_without_models_is_refused(self) -> None:
        assert errors("") == ["[[model]]: missing; expected at least one [[model]] table"]

    @pytest.mark.requirement("C12")
    def test_a_configuration_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            read(MODEL).server.port = 1  # type: ignore[misc]


@pytest.mark.requirement("C5")
class TestWorkflows:
    def test_json_and_native_tables_give_the_same_tree(self) -> None:
        native = """
            [workflow-integration]
            selector = {ref = "glm"}
            [workflow-integration.analyzer]
            ref = "glm"
            [[workflow-integration.workers]]
            ref = "glm"
            temperature = 1.0
            """
        tree = {
            "selector": {"ref": "glm"},
            "analyzer": {"ref": "glm"},
            "workers": [{"ref": "glm", "temperature": 1.0}],
        }
        as_json = f"[workflow-integration]\njson = '''{json.dumps(tree)}'''"
        first, second = read(MODEL + native).integration, read(MODEL + as_json).integration
        assert first is not None
        assert second is not None
        assert first.tree == second.tree == tree
        assert first.tree_place == "[workflow-integration]"
        assert second.tree_place == "[workflow-integration] json"

    def test_both_at_once_are_refused(self) -> None:
        (error,) = errors(MODEL + '[workflow-integration]\nworkers = ["glm"]\njson = "{}"')
        assert "expected the workflow in one form only" in error

    def test_a_workflow_needs_one_of_them(self) -> None:
        (error,) = errors(MODEL + "[workflow-integration]\nseed = 1")
        assert error.startswith("line 4: [workflow-integration]: no workflow; expected `json`")

    @pytest.mark.parametrize("depth", ["0", "-1", "1.5", "true", '"2"'])
    def test_the_depth_is_a_positive_whole_number(self, depth: str) -> None:
        (error,) = errors(f'{MODEL}[workflow-integration]\nworkers = ["glm"]\nnested_worker_depth = {depth}')
        assert error.startswith("line 6: [workflow-integration] nested_worker_depth: found ")

    @pytest.mark.requirement("C9")
    def test_named_workflows(self) -> None:
        config = read(MODEL + '[workflows.quick]\ndescription = "Quick."\nworkers = ["glm"]')
        assert config.workflows["quick"].description == "Quick."
        assert config.integration is None
        assert errors(MODEL + '[workflows."a/b"]\nworkers = ["glm"]') == [
            'line 4: [workflows."a/b"]: expected a name without spaces, `/` and `:`, as in `chorus/NAME`'
        ]

    @pytest.mark.requirement("C8")
    @pytest.mark.parametrize(
        ("toml", "place"),
        [
            ('json = """\n{"workers": [1,]}\n"""', "line 6: [workflow-integration] json: column 16"),
            ("json = '''{\n 'a'}'''", "line 6: [workflow-integration] json: column 2"),
            ('json = "{}{"', "line 5: [workflow-integration] json: column 11"),
            ("json = '{]'", "line 5: [workflow-integration] json: column 10"),
            # escapes and a line that is continued: one character of JSON is several of TOML
            ('json = """\\\n   {"\\u00e9\\t": \\\n\n  oops}"""', "line 8: [workflow-integration] json: column 3"),
            ('json = """"""', "line 5: [workflow-integration] json: column 11"),
        ],
    )
    def test_bad_json_is_reported_with_line_and_column_in_the_file(self, toml: str, place: str) -> None:
        for line_end in ("\n", "\r\n"):
            (error,) = errors(f"{MODEL}[workflow-integration]\n{toml}\n".replace("\n", line_end))
            assert error.startswith(place)

    @pytest.mark.requirement("C8")
    def test_where_the_text_cannot_be_found_the_place_in_the_json_is_told(self) -> None:
        (error,) = errors(f"workflow-integration = {{ json = '{{]' }}\n{MODEL}")
        assert "not valid JSON (line 1, column 2 of it)" in error

    @pytest.mark.parametrize("tree", ["[]", "1", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 5000 + "]" * 5000])
    def test_json_that_is_no_workflow_is_refused(self, tree: str) -> None:
        (error,) = errors(f"{MODEL}[workflow-integration]\njson = '{tree}'")
        assert error.startswith("line 5: [workflow-integration] json: ")

    def test_a_line_break_in_a_prompt_survives_toml(self) -> None:
        config = read(MODEL + '[workflow-integration]\njson = """{"workers": [{"system": "a\\nb"}]}"""')
        assert config.integration is not None
        assert config.integration.tree == {"workers": [{"system": "a\nb"}]}


@pytest.mark.requirement("C2")
class TestErrors:
    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("a = 1 b", "line 1: TOML: column 7: "),
            ("[a]\n[a]\n", "line 2: TOML: column 3: "),
            ('a = """\n', "line 2: TOML: Unterminated string"),
        ],
    )
    def test_syntax_errors_have_line_and_column(self, text: str, place: str) -> None:
        (error,) = errors(text)
        assert error.startswith(place)

    @pytest.mark.parametrize("text", ["a = " + "[" * 9999, "a = 1" + "0" * 9999, "model" + ".a" * 1999 + " = 1"])
    def test_absurd_files_are_errors_like_others(self, text: str) -> None:
        assert errors(text)

    def test_one_value_is_reported_once(self) -> None:
        assert len(errors(MODEL.replace("http://localhost:11434/v1", "${GONE}"))) == 1

    @given(st.text(st.sampled_from("[]{}=.,\"'\\\n #$-:aw01modelname"), max_size=80))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        for document in (text, MODEL + text, f"{MODEL}[workflow-integration]\n{text}"):
            try:
                read(document)
            except ConfigError:
                continue


def _references(node: object) -> set[str]:
    if isinstance(node, str):
        return {node}
    if isinstance(node, list):
        return set().union(*map(_references, node))
    if not isinstance(node, dict):
        return set()
    if leaf := node.get("ref", node.get("name")):
        return {leaf}
    return set().union(*map(_references, node.values()))
