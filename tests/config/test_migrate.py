"""Files of the old form: C10."""

import json
import os
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from chorus.config import load, loads, migrate, rewrite
from chorus.errors import ConfigError

pytestmark = pytest.mark.requirement("C10")

OLD = (Path(__file__).parents[2] / "test-old-config.toml").read_text()
NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_old_keys_become_the_json_of_a_workflow() -> None:
    new = migrate(OLD)
    assert new.changed
    assert '\n[[model]]\napi_base = "https://dashscope' in new.text
    assert 'json = """\n{\n  "analyzer": {\n    "ref": "glm-4.6"' in new.text
    document = tomllib.loads(new.text)
    assert document["workflow-integration"].keys() == {"json"}
    assert json.loads(document["workflow-integration"]["json"]) == {
        "analyzer": {"ref": "glm-4.6", "auto_temperature": True},
        "workers": [{"ref": "qwen3-max"}, {"ref": "glm-4.6"}],
        "synthesizer": {"ref": "glm-4.6"},
    }
    assert document["workflow"]["timeouts"] == {
        "analyzer_timeout_secs": 30,
        "worker_timeout_secs": 60,
        "selector_timeout_secs": 60,
        "synthesizer_timeout_secs": 60,
    }


def test_comments_on_top_say_what_was_migrated() -> None:
    new = migrate(OLD)
    header = new.text.partition("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert all(note in header for note in new.notes)
    assert "backup" in header


def test_a_second_run_changes_nothing() -> None:
    new = migrate(OLD)
    again = migrate(new.text)
    assert not again.changed
    assert again.text == new.text


def test_loading_an_old_file_gives_what_the_migrated_one_gives() -> None:
    old, new = loads(OLD, environ={}), loads(migrate(OLD).text, environ={})
    assert old.migrated
    assert not new.migrated
    assert old.integration is not None
    assert new.integration is not None
    assert old.integration.tree == new.integration.tree
    assert (old.models, old.workflow, old.server) == (new.models, new.workflow, new.server)


def test_only_a_missing_section_keeps_the_comments_of_the_file() -> None:
    text = '# mine\n[[model]]\nname = "a" # here\n[workflow-integration]\njson = "{}"\n'
    new = migrate(text)
    assert new.changed
    assert text.rstrip() in new.text
    assert tomllib.loads(new.text)["workflow"]["timeouts"]["worker_timeout_secs"] == 60
    assert not migrate(new.text).changed


def test_other_settings_come_along() -> None:
    new = migrate(
        '[workflow-integration]\nanalyzer_model = "a"\nworker_models = ["a \\"b\\" \\\\ c"]\nselector_model = "a"\n'
        'nested_worker_depth = 2\ndescription = "say \\"hi\\""\n'
        "[workflow.timeouts]\nworker_timeout_secs = 5\n"
        '[[model]]\nname = "a"\nheaders = { "X-A" = "b" }\nprice = { input = 1.5 }\n[[model]]\nname = "b"\n'
    )
    document = tomllib.loads(new.text)
    assert document["workflow"] == {"timeouts": {"worker_timeout_secs": 5}}
    assert document["model"] == [
        {"name": "a", "headers": {"X-A": "b"}, "price": {"input": 1.5}},
        {"name": "b"},
    ]
    table = document["workflow-integration"]
    assert (table["nested_worker_depth"], table["description"]) == (2, 'say "hi"')
    assert json.loads(table["json"])["workers"] == [{"ref": 'a "b" \\ c'}]
    assert json.loads(table["json"])["selector"] == {"ref": "a"}


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ('analyzer_model = "a"', "worker_models: missing; expected a list"),
        ('worker_models = ["a"]', "synthesizer_model: missing"),
        ('worker_models = []\nselector_model = "a"', "line 2: [workflow-integration] worker_models: expected"),
        ('worker_models = ["a"]\nsynthesizer_model = 1', "synthesizer_model: expected the name of a model"),
        ('worker_models = ["a"]\njson = "{}"', "an old key beside json"),
    ],
)
def test_an_old_form_whose_meaning_is_unclear_is_refused(table: str, error: str) -> None:
    text = f"[workflow-integration]\n{table}"
    with pytest.raises(ConfigError) as caught:
        migrate(text)
    assert error in caught.value.message
    with pytest.raises(ConfigError) as caught:
        loads(text, environ={})
    assert error in caught.value.message


values = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.text(min_size=1, max_size=10)


@given(
    workers=st.lists(names, min_size=1, max_size=3),
    judge=names,
    model=st.lists(st.dictionaries(st.text(max_size=5), values, max_size=3), max_size=3),
    rest=st.dictionaries(st.text(max_size=5), values, max_size=2),
)
def test_nothing_is_lost_and_twice_is_once(
    workers: list[str], judge: str, model: list[dict[str, object]], rest: dict[str, object]
) -> None:
    table: dict[str, object] = {"worker_models": workers, "synthesizer_model": judge}
    old = {**rest, "model": model, "workflow-integration": table, "workflow": {}}
    new = migrate(tomli_w.dumps(old))
    document = tomllib.loads(new.text)
    tree = json.loads(document.pop("workflow-integration")["json"])
    assert tree == {"workers": [{"ref": name} for name in workers], "synthesizer": {"ref": judge}}
    assert document == {key: value for key, value in old.items() if key != "workflow-integration"}
    assert not migrate(new.text).changed


class TestRewrite:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(OLD)
        path.chmod(0o640)
        return path

    def test_the_backup_is_the_old_file(self, path: Path) -> None:
        done = rewrite(path, now=NOW)
        assert done.backup == path.with_name("config.toml.bak")
        assert done.backup.read_text() == OLD
        assert path.read_text() == done.text
        assert not load(path, {}).migrated

    def test_the_mode_stays_and_nothing_else_is_left(self, path: Path) -> None:
        rewrite(path, now=NOW)
        assert path.stat().st_mode & 0o777 == 0o640
        assert path.with_name("config.toml.bak").stat().st_mode & 0o777 == 0o640
        assert sorted(os.listdir(path.parent)) == ["config.toml", "config.toml.bak"]

    def test_backups_are_never_overwritten(self, path: Path) -> None:
        backups = []
        for _ in range(4):
            path.write_text(OLD)
            backups.append(rewrite(path, now=NOW).backup)
        assert [backup.name for backup in backups if backup] == [
            "config.toml.bak",
            "config.toml.bak.20250102T030405",
            "config.toml.bak.20250102T030405-2",
            "config.toml.bak.20250102T030405-3",
        ]

    def test_a_second_run_writes_nothing(self, path: Path) -> None:
        rewrite(path, now=NOW)
        before = path.stat()
        assert not rewrite(path, now=NOW).changed
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert len(os.listdir(path.parent)) == 2

    def test_a_symbolic_link_stays_one(self, path: Path) -> None:
        link = path.parent / "here" / "config.toml"
        link.parent.mkdir()
        link.symlink_to(path)
        done = rewrite(link, now=NOW)
        assert link.is_symlink()
        assert path.read_text() == done.text
        assert done.backup == link.with_name("config.toml.bak")

    def test_a_failed_write_leaves_the_old_file(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(ConfigError, match=r"config\.toml: file: cannot be migrated: No space left on device"):
            rewrite(path, now=NOW)
        assert path.read_text() == OLD
        assert sorted(os.listdir(path.parent)) == ["config.toml", "config.toml.bak"]

    def test_a_missing_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"gone\.toml: file: cannot be migrated: No such file"):
            rewrite(tmp_path / "gone.toml", now=NOW)
