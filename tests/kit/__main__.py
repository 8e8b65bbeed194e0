"""The scripted upstream as a process: `python -m tests.kit --port N`.

The model's name says how to behave.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

import uvloop

from . import conventions
from .upstream import ScriptedUpstream


async def _serve(port: int) -> None:
    async with ScriptedUpstream(port=port, default=conventions.by_name, keep_requests=False) as upstream:
        print(f"listening on {upstream.base}", flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Serve until killed; port 0 picks one. The first line printed ends with the address."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kit",
        description=main.__doc__,
        epilog=conventions.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
