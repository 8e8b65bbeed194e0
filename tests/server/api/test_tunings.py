"""`/api/v1/tunings`: the outcomes of `chorus tune` in one folder, and nothing else of the machine
(O4).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chorus.auth.keys import KeyFile
from chorus.tunings import MAX_LISTED
from tests.kit import ServerProcess

pytestmark = [pytest.mark.requirement("O4"), pytest.mark.requirement("S3")]

PATH = "/api/v1/tunings"
ROW = {"name": "a + b", "quality": {"mean": 0.8, "low": 0.7, "high": 0.9}, "p50": 1.5, "p95": 3.0, "calls": 2.0}
TUNING: dict[str, Any] = {
    "questions": 40,
    "compared": 12,
    "possible": 12,
    "is_priced": False,
    "rows": [{**ROW, "marks": ["recommended"], "cost_per_1000": None, "toml": "[workflows.tuned]\n"}],
    "points": [[0.8, None, 1.5, 2.0]],
    "sentences": {"en": ["12 panels were compared."], "zh": ["比较了 12 个组合。"]},
}
BROKEN = {
    "empty": "",
    "half-written": json.dumps(TUNING)[:-40],
    "a list": "[]",
    "another file": '{"questions": []}',
    "no rows": json.dumps({key: value for key, value in TUNING.items() if key != "rows"}),
    "not a number": json.dumps({**TUNING, "rows": [{**ROW, "p50": float("nan")}]}),
    "infinite": json.dumps(TUNING).replace("1.5", "1e999"),
    "null quality": json.dumps({**TUNING, "rows": [{**ROW, "quality": None}]}),
    "too many rows": json.dumps({**TUNING, "rows": [ROW] * 101}),
    "too many points": json.dumps({**TUNING, "points": [[0.8, None, 1.5, 2.0]] * 1501}),
    "too deep": json.dumps({**TUNING, "more": 0}).replace('"more": 0', '"more": ' + "[" * 50_000 + "]" * 50_000),
    "too large": json.dumps({**TUNING, "more": "x" * 2**20}),
    "half a character": json.dumps({**TUNING, "sentences": {"en": ["?"], "zh": []}}).replace("?", "\\ud800"),
    "a huge count": json.dumps(TUNING).replace("40", "4" + "0" * 400),
}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """A server, and the folder that it shows."""
    folder = tmp_path_factory.mktemp("tunings") / "evaluation"
    config = f'[server]\nevaluations = {json.dumps(str(folder))}\n[[model]]\nname = "demo-abacus"\nprovider = "demo"\n'
    with ServerProcess(config) as server, httpx.Client(base_url=server.base) as client:
        yield client, folder


@pytest.fixture
def folder(shown: tuple[httpx.Client, Path]) -> Iterator[Path]:
    """The folder, which is not there yet."""
    yield shown[1]
    for path in shown[1].parent.iterdir():
        shutil.rmtree(path)


@pytest.fixture
def server(shown: tuple[httpx.Client, Path]) -> httpx.Client:
    return shown[0]


def keep(folder: Path, text: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tuning.json"
    path.write_text(json.dumps(TUNING) if text is None else text, encoding="utf-8")
    return path


def ids(server: httpx.Client) -> list[str]:
    return [row["id"] for row in server.get(PATH).raise_for_status().json()["data"]]


def test_the_outcomes_of_the_folder_and_of_those_in_it(server: httpx.Client, folder: Path) -> None:
    assert server.get(PATH).json() == {"folder": str(folder), "data": []}
    for at, path in enumerate((folder, folder / "july 2026", folder / "<b>&'")):
        os.utime(keep(path), (1000.0 + at, 1000.0 + at))
    (folder / "half").mkdir()  # an evaluation that nobody has tuned
    keep(folder / "july 2026" / "deeper")
    listed = server.get(PATH).json()["data"]
    assert [row["id"] for row in listed] == ["<b>&'", "july 2026", "evaluation"]
    assert listed[-1]["modified_at"] == "1970-01-01T00:16:40.000Z"
    for row in listed:
        answer = server.get(f"{PATH}/{row['id']}")
        assert answer.status_code == 200
        assert answer.json() == {**row, **TUNING}


def test_what_is_no_outcome_is_said_in_a_sentence(server: httpx.Client, folder: Path) -> None:
    for name, text in BROKEN.items():
        keep(folder / name, text)
    (folder / "bytes").mkdir()
    (folder / "bytes" / "tuning.json").write_bytes(b"\xff\xfe{}")
    (folder / "a folder" / "tuning.json").mkdir(parents=True)
    names = {*BROKEN, "bytes"}
    assert set(ids(server)) == names
    for name in (*names, "a folder", "none", "x" * 5000):
        answer = server.get(f"{PATH}/{name}")
        assert answer.status_code == 404, (name, answer.text[:200])
        assert "tuning" in answer.json()["error"]["message"]
        assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "id", ["..", "%2e%2e", "..%2Fsecret", "a%2F..%2F..%2Fsecret", "..%5Csecret", "%00", "link", "%2Fetc", "%F0%9F"]
)
def test_no_path_leaves_the_folder(server: httpx.Client, folder: Path, id: str) -> None:
    keep(folder / "a")
    keep(folder.parent / "secret")
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / "b").mkdir()
    (folder / "b" / "tuning.json").symlink_to(folder.parent / "secret" / "tuning.json")
    assert ids(server) == ["a"]
    for name in (id, "b"):
        answer = server.get(httpx.URL(f"{server.base_url}{PATH}/").copy_with(raw_path=f"{PATH}/{name}".encode()))
        assert (answer.status_code, "12 panels" in answer.text) == (404, False), name


def test_a_pipe_holds_nobody_up_and_odd_names_and_times_are_left_out(server: httpx.Client, folder: Path) -> None:
    folder.mkdir()
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "tuning.json")
    for name in (b"\xff", b"line\nbreak", "\u202eabc".encode()):
        keep(folder / os.fsdecode(name))
    os.utime(keep(folder / "old"), (-1e9, -1e9))
    os.utime(keep(folder / "new"), (1e12, 1e12))
    assert ids(server) == ["new", "old"]
    assert server.get(f"{PATH}/pipe").status_code == 404
    assert server.get(f"{PATH}/new").status_code == 200


def test_the_newest_hundred_are_listed_and_all_are_read(server: httpx.Client, folder: Path) -> None:
    for at in range(MAX_LISTED + 5):
        os.utime(keep(folder / f"n{at}"), (at, at))
    listed = ids(server)
    assert (len(listed), listed[0], listed[-1]) == (MAX_LISTED, f"n{MAX_LISTED + 4}", "n5")
    assert server.get(f"{PATH}/n0").status_code == 200


def test_with_keys_it_takes_an_administrators(folder: Path, tmp_path: Path) -> None:
    keep(folder)
    file = tmp_path / "keys.json"
    keys = [KeyFile(file).create(role, role=role, models=(), expires=None)[0] for role in ("client", "admin")]
    config = f"""
[server]
require_auth = true
keys_file = {json.dumps(str(file))}
evaluations = {json.dumps(str(folder))}
[[model]]
name = "demo-abacus"
provider = "demo"
"""
    with ServerProcess(config) as server:
        for path in (PATH, f"{PATH}/evaluation"):
            answers = [httpx.get(server.base + path, headers={"authorization": f"Bearer {key}"}) for key in keys]
            assert [answer.status_code for answer in answers] == [403, 200]
            assert httpx.get(server.base + path).status_code == 401
