"""The files of deploy/ by the tools that read them: hadolint, the schema of compose files, HAProxy,
promtool, kubectl with the schemas of Kubernetes, systemd. And what one file says of another: times
that add up, metrics that exist.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.clients import environments
from tests.kit.command import chorus

pytestmark = pytest.mark.requirement("I5")
ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted((DEPLOY / "docker").glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KUSTOMIZATIONS = sorted(path.parent for path in (DEPLOY / "kubernetes").rglob("kustomization.yaml"))
OF_OTHERS = {"Gateway", "HTTPRoute"}
"""Kinds that a definition adds to Kubernetes: its own schemas have none for them."""
SECONDS = 120


def run(*command: str | Path, **options: Any) -> str:
    """What a tool writes; AssertionError with it when the tool complains."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name: str) -> str:
    """The path of a program; the test is skipped where it is not on this machine."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not on this machine")
    return path


def kustomized(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    return list(yaml.safe_load_all(run(tool("kubectl"), "kustomize", folder)))


def objects(kind: str, name: str) -> dict[str, Any]:
    """One object of the files of deploy/kubernetes/base, as it is written there."""
    for path in (DEPLOY / "kubernetes" / "base").glob("*.yaml"):
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if each["kind"] == kind and each.get("metadata", {}).get("name") == name:
                return each
    raise AssertionError(f"there is no {kind} {name}")


# --- Docker


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing_wrong(path: Path) -> None:
    run(Path(environments.python("deploy")).parent / "hadolint", path)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_runs_as_nobody_and_gets_its_signals(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["chorus"\]$', last, re.MULTILINE), "the exec form: no shell keeps SIGTERM"
    assert re.search(r'^HEALTHCHECK .*CMD \["chorus", "health", "--(live|worker)"\]$', last, re.MULTILINE)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}
    assert not re.search(r"https?://|index-url|sha256:", text)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_installs_extras_that_exist(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = re.search(r"^ARG EXTRAS=(\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert set(found[1].split(",")) <= project["optional-dependencies"].keys()


def test_a_build_sees_what_the_package_is_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "*" in lines
    wanted = {"chorus", "pyproject.toml", project["readme"], *project["license-files"]}
    assert {line[1:] for line in lines if line.startswith("!")} == wanted


# --- compose


def test_the_compose_file_is_as_its_schema_wants_it() -> None:
    path = environments.compose_schema()
    if path is None:
        pytest.skip("npm is not on this machine")
    schema = json.loads(path.read_text(encoding="utf-8"))
    document = json.loads(json.dumps(COMPOSE))
    del document["name"]  # younger than the schema, as is the next
    for service in document["services"].values():
        del service["deploy"]["resources"]["limits"]["pids"]
    assert [f"{list(problem.path)}: {problem.message}" for problem in _problems(schema, document)] == []
    document["services"]["redis"]["stop_grace_perod"] = "1s"
    assert list(_problems(schema, document)), "a key that is misspelt is found"


def _problems(schema: Any, document: Any) -> Any:
    return jsonschema.Draft201909Validator({**schema, "$schema": None}).iter_errors(document)


def test_docker_compose_reads_the_file() -> None:
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin here")
    run(docker, "compose", "-f", DEPLOY / "compose" / "compose.yaml", "--profile", "tracing", "config", "-q")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["stop_grace_period"]
    assert "healthcheck" in service or service.get("profiles") == ["tracing"]
    assert re.fullmatch(r"chorus-\w+:local|[\w./-]+:v?\d[\w.-]*", service["image"]), "a tag that is a version"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "nothing is open to other machines unless somebody says so"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.partition(":")[0]
        if source.startswith("."):
            assert (DEPLOY / "compose" / source).exists(), source
        elif not source.startswith("$"):
            assert source in COMPOSE["volumes"]


def test_the_times_of_stopping_add_up_in_compose() -> None:
    config = tomllib.loads((DEPLOY / "compose" / "chorus.toml").read_text(encoding="utf-8"))["server"]
    secs = config["lame_duck_secs"] + config["drain_timeout_secs"] + 5
    assert SERVICES["gateway-1"]["stop_grace_period"] == SERVICES["gateway-2"]["stop_grace_period"] == f"{secs}s"
    command = SERVICES["worker-1"]["command"]
    drain = int(command[command.index("--drain-timeout") + 1])
    assert SERVICES["worker-1"]["stop_grace_period"] == f"{drain + 10}s"
    haproxy = (DEPLOY / "compose" / "haproxy.cfg").read_text(encoding="utf-8")
    found = re.search(r"check inter (\d+)s fall (\d+)", haproxy)
    assert found is not None
    assert int(found[1]) * int(found[2]) < config["lame_duck_secs"], "the balancer knows before the door is closed"


def test_haproxy_reads_its_file(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "haproxy.cfg").read_text(encoding="utf-8")
    path = tmp_path / "haproxy.cfg"
    path.write_text(re.sub(r"gateway-(\d):", r"127.0.0.\1:", text), encoding="utf-8")
    assert "WARNING" not in run(tool("haproxy"), "-c", "-f", path)


def test_prometheus_reads_its_file(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "compose" / "prometheus.yml", tmp_path)
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", tmp_path)
    run(tool("promtool"), "check", "config", tmp_path / "prometheus.yml")


@pytest.mark.parametrize(
    ("path", "env"),
    [
        ("compose/chorus.toml", {}),
        ("kubernetes/base/chorus.toml", {"REDIS_URL": "redis://redis:6379/0", "POD_NAMESPACE": "chorus"}),
    ],
)
def test_chorus_reads_the_gateways_configuration(path: str, env: dict[str, str], tmp_path: Path) -> None:
    done = chorus("check", str(DEPLOY / path), home=tmp_path, **env)
    assert done.returncode == 0, done.stderr


# --- Grafana


def test_the_dashboard_is_that_of_the_metrics() -> None:
    run(sys.executable, "scripts/dashboard.py", "--check", cwd=ROOT)


def test_a_dashboard_names_metrics_that_exist_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    script = _script("dashboard")
    known = script.metrics()
    shown = {
        name
        for panel in script.dashboard()["panels"]
        for query in panel.get("targets", [])
        for name in re.findall(r"([a-z_]+)\{job=", query["expr"])
    }
    endings = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    assert shown == {name + endings[metric.kind] for name, metric in known.items()}
    first, *others = script.ROWS["Runs"]
    monkeypatch.setitem(script.ROWS, "Runs", tuple(others))
    with pytest.raises(ValueError, match=first.metric):
        script.dashboard()


def _script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


# --- Kubernetes


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
def test_kubernetes_knows_every_key(folder: Path, tmp_path: Path) -> None:
    found = [each for each in kustomized(folder) if each["kind"] not in OF_OTHERS]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(found), encoding="utf-8")
    said = run(environments.python("deploy"), "-m", "kubernetes_validate", "--strict", path)
    assert said.count(" passed for ") == len(found)


def test_the_example_of_a_secret_is_one() -> None:
    path = DEPLOY / "kubernetes" / "examples" / "secret.yaml"
    run(environments.python("deploy"), "-m", "kubernetes_validate", "--strict", path)
    wanted = set(re.findall(r"\$\{(\w+)\}", (DEPLOY / "kubernetes/base/chorus.toml").read_text(encoding="utf-8")))
    assert wanted - {"NAME", "POD_NAMESPACE"} <= yaml.safe_load(path.read_text(encoding="utf-8"))["stringData"].keys()


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_a_pod_is_restricted_and_asked_for_its_health(name: str) -> None:
    pod = objects("Deployment", name)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001, "that of the image"
    assert pod["enableServiceLinks"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = container[probe].get("httpGet", container[probe].get("tcpSocket", container[probe].get("grpc")))["port"]
        assert port in {value for each in container["ports"] for value in (each["name"], each["containerPort"])}


def test_the_times_of_stopping_add_up_in_kubernetes() -> None:
    config = tomllib.loads((DEPLOY / "kubernetes/base/chorus.toml").read_text(encoding="utf-8"))["server"]
    drains = {"gateway": config["lame_duck_secs"] + config["drain_timeout_secs"]}
    worker = objects("Deployment", "worker")["spec"]["template"]["spec"]["containers"][0]["args"]
    drains["worker"] = int(worker[worker.index("--drain-timeout") + 1])
    for name, secs in drains.items():
        pod = objects("Deployment", name)["spec"]["template"]["spec"]
        command, pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert command == "sleep"
        assert pod["terminationGracePeriodSeconds"] == int(pause) + secs + 5
    probe = objects("Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < config["lame_duck_secs"]


def test_pods_are_scaled_by_metrics_that_exist() -> None:
    known = _script("dashboard").metrics()
    scaled = {
        metric["pods"]["metric"]["name"]
        for name in ("gateway", "worker")
        for metric in objects("HorizontalPodAutoscaler", name)["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    path = DEPLOY / "kubernetes" / "examples" / "prometheus-adapter.yaml"
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == scaled
    assert "active_concurrency" in scaled
    for rule in rules:
        series = rule["seriesQuery"].partition("{")[0]
        assert series == rule["name"]["as"]
        assert known[series].kind == "gauge"


# --- systemd


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    text = unit.read_text(encoding="utf-8")
    assert "/opt/chorus/bin/chorus" in text
    path = tmp_path / unit.name.replace("@.", "@qwen.")
    path.write_text(text.replace("/opt/chorus/bin/chorus", "/bin/true"), encoding="utf-8")
    assert run(analyze, "verify", "--man=no", path).strip() == ""
    run(analyze, "security", "--offline=true", "--threshold=20", path)
