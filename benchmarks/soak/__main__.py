"""Whether anything leaks: mixed load with faults and clients that leave, on a server process, seen
from outside.

    python -m benchmarks.soak --minutes 10
    python -m benchmarks.soak --seconds 20

Exit code 1 when a bound is broken: a request that hangs, an answer that is neither whole nor a
clear error, a call or a descriptor that is not given back, a server that does not answer any more;
in the long form also memory that grows, and fewer than a thousand cancelled calls a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from benchmarks.processes import GATEWAY_CORE, LOAD_CORE, pin

from .measure import WARM_UP, Soak, run

CLIENTS = 96


def report(soak: Soak) -> None:
    """Print the table."""
    tally = soak.tally
    rows: list[tuple[str, float, str]] = [
        ("requests", tally.requests, f"{tally.requests / soak.secs:.0f} a second"),
        ("whole answers", tally.answers, ""),
        *((f"error {code}", count, "") for code, count in sorted(tally.errors.items())),
        *((f"left {phase}", count, "") for phase, count in sorted(tally.left.items())),
        ("left, all", tally.left.total(), ""),
        ("nonsense, refused", tally.nonsense, ""),
        ("hung", len(tally.hung), ""),
        ("neither answer nor clear error", len(tally.failures), ""),
        ("descriptors before", soak.descriptors[0], f"at most {max(each for _, _, each in soak.samples)} under load"),
        ("descriptors after", soak.descriptors[1], ""),
        ("memory at the start, kB", soak.samples[0][1], ""),
        ("memory at the end, kB", soak.samples[-1][1], ""),
    ]
    if soak.is_long:
        per_request = soak.kb_per_min * 1024 / 60 / (tally.requests / soak.secs)
        note = f"{per_request:.1f} bytes a request, last {1 - WARM_UP:.0%} of the run"
        rows.append(("memory slope, kB/min", soak.kb_per_min, note))
    for name, value, note in rows:
        print(f"{name:<36} {value:10.0f}   {note}".rstrip())
    minutes = " ".join(f"{kb / 1024:.1f}" for _, kb, _ in soak.samples[::60])
    print(f"memory, MB, a minute apart: {minutes}")


def verdict(problems: Sequence[str]) -> int:
    """Print what is broken, the first of it; the exit code."""
    for problem in problems[:20]:
        print(f"BROKEN: {problem}")
    print("ok: every bound holds" if not problems else f"{len(problems)} BOUNDS ARE BROKEN")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0)
    length.add_argument("--seconds", type=float, help="the short form")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what the clients do")
    options = parser.parse_args()
    pin(LOAD_CORE)
    secs = options.seconds if options.seconds is not None else options.minutes * 60
    print(f"{options.clients} clients for {secs:.0f} s on core {GATEWAY_CORE}, seed {options.seed}", flush=True)
    soak = run(secs, clients=options.clients, seed=options.seed)
    report(soak)
    return verdict(soak.broken())


if __name__ == "__main__":
    sys.exit(main())
