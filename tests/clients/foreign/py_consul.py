"""py-consul, a client of Consul that is not ours, against the address in CONSUL: it finds what it
expects of an agent.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import consul
from consul import Check

place = urlsplit(os.environ["CONSUL"])
client = consul.Consul(host=place.hostname or "", port=place.port or 0)
NAME = f"py-consul-{os.getpid()}"
ONE, TWO = f"{NAME}-1", f"{NAME}-2"


def passing(index: int | None = None, wait: str | None = None) -> tuple[int, list[str]]:
    found, entries = client.health.service(NAME, index=index, wait=wait, passing=True)
    return int(found), sorted(entry["Service"]["ID"] for entry in entries)


def check(name: str, holds: bool) -> None:
    print(f"{'PASS' if holds else 'FAIL'} {name}", flush=True)


check("a leader", bool(client.status.leader()))
index, ids = passing()
check("no instance of a name that is not there", ids == [] and index > 0)

client.agent.service.register(
    NAME, service_id=ONE, address="127.0.0.1", port=50051, tags=["gpu"], meta={"model": "glm"}, check=Check.ttl("10s")
)
check("a check of a time to live begins critical", passing()[1] == [])
client.agent.check.ttl_pass(f"service:{ONE}")
index, ids = passing(index, "10s")
while not ids:  # an agent may answer for each step by itself
    index, ids = passing(index, "10s")
check("a blocking query returns when it passes", ids == [ONE])

entry = client.health.service(NAME, passing=True)[1][0]
service = entry["Service"]
check("the instance", (service["Address"], service["Port"], service["Tags"]) == ("127.0.0.1", 50051, ["gpu"]))
check("its meta and weight", service["Meta"] == {"model": "glm"} and service["Weights"]["Passing"] == 1)
check("its checks", {each["Status"] for each in entry["Checks"]} == {"passing"})

same, ids = passing(index, "1s")
check("without a change the same index and the same data after the wait", (same, ids) == (index, [ONE]))

client.agent.service.register(NAME, service_id=TWO, address="127.0.0.1", port=50052)
index, ids = passing(index, "10s")
check("a second instance without a check passes", ids == [ONE, TWO])
client.agent.check.ttl_fail(f"service:{ONE}")
index, ids = passing(index, "10s")
check("a failed check takes an instance out", ids == [TWO])
for service_id in (ONE, TWO):
    client.agent.service.deregister(service_id)
check("deregistered", passing()[1] == [])
