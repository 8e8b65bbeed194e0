"""Times by stage and by host: C7."""

import pytest

from chorus.config import Config, loads
from chorus.errors import ConfigError

pytestmark = pytest.mark.requirement("C7")

MODEL = '[[model]]\nname = "a"\nprovider = "demo"\n'
DOMAINS = """
[workflow.timeouts]
worker_timeout_secs = 50
[workflow.domains."api.example.com:8443"]
worker_timeout_secs = 1
[workflow.domains."api.example.com"]
worker_timeout_secs = 2
total_timeout_secs = 20
[workflow.domains."*.example.com"]
worker_timeout_secs = 3
[workflow.domains."*.b.example.com"]
worker_timeout_secs = 4
[workflow.domains."plain:80"]
worker_timeout_secs = 5
[workflow.domains."[::1]:11434"]
worker_timeout_secs = 6
"""


def read(text: str) -> Config:
    return loads(MODEL + text, environ={})


def test_the_defaults() -> None:
    assert read("").workflow.timeouts.model_dump() == {
        "analyzer_timeout_secs": 30,
        "worker_timeout_secs": 60,
        "selector_timeout_secs": 60,
        "synthesizer_timeout_secs": 60,
        "first_token_timeout_secs": None,
        "total_timeout_secs": None,
    }


@pytest.mark.parametrize(
    ("api_base", "worker_timeout"),
    [
        ("https://api.example.com:8443/v1", 1),
        ("https://api.example.com/v1", 2),
        ("https://API.Example.Com/v1", 2),
        ("https://other.example.com", 3),
        ("https://a.b.example.com", 4),
        ("https://example.com", 50),  # *.example.com is what is below it
        ("https://notexample.com", 50),
        ("http://plain", 5),
        ("https://plain", 50),
        ("http://[::1]:11434/v1", 6),
    ],
)
def test_the_most_specific_table_wins(api_base: str, worker_timeout: float) -> None:
    assert read(DOMAINS).workflow.timeouts_for(api_base).worker_timeout_secs == worker_timeout


def test_each_field_comes_from_the_nearest_table_that_sets_it() -> None:
    times = read(DOMAINS).workflow.timeouts_for("https://api.example.com:8443")
    assert (times.worker_timeout_secs, times.total_timeout_secs, times.analyzer_timeout_secs) == (1, 20, 30)


@pytest.mark.parametrize("value", ["0", "-1", "true", "inf", '"5"'])
def test_a_time_is_a_number_above_zero(value: str) -> None:
    with pytest.raises(ConfigError, match="expected a number of seconds above 0"):
        read(f"[workflow.timeouts]\nworker_timeout_secs = {value}")


def test_milliseconds_get_a_warning() -> None:
    config = read(
        "[workflow.timeouts]\nworker_timeout_secs = 60000\n"
        '[workflow.domains."a"]\nanalyzer_timeout_secs = 10000\ntotal_timeout_secs = 9999'
    )
    assert config.warnings == (
        "[workflow.timeouts] worker_timeout_secs = 60000 is 16.7 hours; the key is in seconds, not milliseconds",
        '[workflow.domains."a"] analyzer_timeout_secs = 10000 is 2.8 hours; the key is in seconds, not milliseconds',
    )


@pytest.mark.parametrize("host", ["https://a", "a/b", "", "*", "a b"])
def test_a_domain_is_a_host(host: str) -> None:
    with pytest.raises(ConfigError, match="expected a host such as"):
        read(f'[workflow.domains."{host}"]')
