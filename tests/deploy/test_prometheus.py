"""What `deploy/prometheus` ships (K5, O2): the rules pass Prometheus' own tool and unit tests, and
name only what a server that has done work really shows, so that no rule can watch for what no
longer exists.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.kit import Gate, Say, ScriptedUpstream, Status
from tests.kit.programs import program
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("K5"), pytest.mark.requirement("O2")]
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "alerts.yml").read_text(encoding="utf-8")
UNIT_TESTS = (FOLDER / "alerts.test.yml").read_text(encoding="utf-8")
ALERTS = dict(re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES, re.DOTALL))
SELECTOR = re.compile(r"\b([a-z_]+)(?:\{([^}]*)\})?(?=[)\[ \n]|$)")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
OF_PROMETHEUS = frozenset({"up"})
TARGET = {"job", "instance"}
"""Labels that a scrape adds."""
WORDS = {"sum", "min", "max", "by", "on", "and", "or", "absent", "resets", "changes", "increase", "rate"} | {
    "histogram_quantile",
    "max_over_time",
    "min_over_time",
}
"""What of PromQL the rules use."""

CONFIG = """
[server]
max_concurrency = 1
max_waiting = 1
[[model]]
name = "glm"
api_base = "{base}"
price = {{ input = 1.0, output = 1.0 }}
max_concurrency = 4
[[model]]
name = "broken"
api_base = "{base}"
[[model]]
name = "rare"
api_base = "{base}"
[workflow-integration]
json = '''{{"workers": ["glm", "broken"], "synthesizer": "glm"}}'''
[limits.models]
rare = {{ requests = "1/hour" }}
"""


def promtool(*arguments: str, page: str | None = None) -> None:
    """Run it here; AssertionError with what it says when it complains."""
    done = subprocess.run(
        [program("promtool"), *arguments], cwd=FOLDER, input=page, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expression(alert: str) -> str:
    """What the rule watches, in PromQL."""
    found = re.search(r"expr: \|\n((?: {10}.*\n)+)", ALERTS[alert])
    assert found is not None, f"{alert} has no expression in a block"
    return found[1]


def selectors(alert: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """The series that a rule looks at: a name, and (label, operator, value) of each matcher."""
    text = re.sub(r"\b(?:by|on) \([^)]*\)", "", expression(alert))
    for name, matchers in SELECTOR.findall(text):
        if name not in WORDS | OF_PROMETHEUS:
            yield name, MATCHER.findall(matchers)


def fits(sample: Sample, name: str, matchers: list[tuple[str, str, str]]) -> bool:
    """Whether Prometheus would find this sample."""
    tests = {
        "=": lambda have, want: have == want,
        "!=": lambda have, want: have != want,
        "=~": lambda have, want: re.fullmatch(want, have) is not None,
        "!~": lambda have, want: re.fullmatch(want, have) is None,
    }
    return sample.name == name and all(tests[how](sample.labels.get(label, ""), want) for label, how, want in matchers)


async def ask(client: httpx.AsyncClient, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "How?"}]}
    return (await client.post("/v1/chat/completions", json=body)).status_code


async def scraped(client: httpx.AsyncClient, until: str) -> str:
    """The page, once it says `until`: a request is counted after its client has its answer."""
    with anyio.fail_after(5):
        while until not in (page := (await client.get("/metrics")).text):
            pass
    return page


async def worked(served: Running, upstream: ScriptedUpstream) -> str:
    """The page of a server to which everything has happened that a rule watches for."""
    gate = Gate()
    upstream.on("broken", Status(500))
    async with httpx.AsyncClient(base_url=served.base, timeout=15, verify=False) as client:
        assert await ask(client, "chorus") == 200
        assert await ask(client, "broken") == 502
        assert [await ask(client, "rare") for _ in range(2)] == [200, 429]
        upstream.on("glm", Say("late", gate=gate))
        async with anyio.create_task_group() as group:
            group.start_soon(ask, client, "glm")
            await upstream.wait_requests(1, model="glm")
            await scraped(client, 'active_concurrency{instance_id="glm@')
            group.start_soon(ask, client, "glm")
            await scraped(client, 'queue_length{model=""} 1.0')
            assert await ask(client, "glm") == 429
            group.cancel_scope.cancel()
        gate.open()
        return await scraped(client, 'chorus_runs_total{status="cancelled"')


@pytest.fixture(scope="module")
def page() -> str:
    with ScriptedUpstream.in_thread() as upstream, running(CONFIG.format(base=upstream.api_base)) as served:
        return anyio.run(worked, served, upstream)


@pytest.fixture(scope="module")
def samples(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"),
        # 5 s of CPU
        pytest.param(("test", "rules", "alerts.test.yml"), marks=pytest.mark.very_slow),
        ("check", "config", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    promtool(*arguments)


def test_the_page_of_metrics_is_as_prometheus_wants_it(page: str) -> None:
    promtool("check", "metrics", page=page)


@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_says_what_is_wrong_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert re.search(r"^ +for: \d+m$", rule, re.MULTILINE)
    assert re.search(r"^ +severity: (critical|warning|info)$", rule, re.MULTILINE)
    for part in ("summary: ", "description: ", "runbook: docs/OPERATIONS.md#alerts"):
        assert part in rule
    runbook = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8").split("\n## Alerts\n", 1)[1]
    assert f"| `{alert}` |" in runbook


@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_watches_what_is_there(alert: str, samples: list[Sample]) -> None:
    looked_at = list(selectors(alert))
    assert looked_at or alert == "ChorusDown"
    for name, matchers in looked_at:
        assert any(fits(sample, name, matchers) for sample in samples), f"nothing is {name}{matchers}"
    labels = {label for sample in samples for label in sample.labels} | TARGET
    named = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression(alert)) + re.findall(r"\$labels\.(\w+)", ALERTS[alert])
    assert {label for part in named for label in part.split(", ")} <= labels


@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_is_seen_to_fire_and_not_to(alert: str) -> None:
    assert f'name: "{alert}: ' in UNIT_TESTS
    assert f'name: "{alert} not: ' in UNIT_TESTS
    assert f'alertname="{alert}"' in UNIT_TESTS


def test_unit_tests_feed_series_that_exist(samples: list[Sample]) -> None:
    shown = {(sample.name, frozenset(sample.labels)) for sample in samples}
    fed = re.findall(r"series: '(\w+)\{([^}]*)\}'", UNIT_TESTS)
    assert len(fed) > len(ALERTS)
    for name, labels in fed:
        if name not in OF_PROMETHEUS:
            assert (name, frozenset(re.findall(r"(\w+)=", labels)) - TARGET) in shown, name
