"""`acorn conformance rest`: does a self-built shop keep the contract?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from conformance.kit import Check, Report, Wanted
from conformance.listener import listening
from conformance.rest import CHECKS, run
from gateway.settings import OUR_HOSTS


async def conform(wanted: Wanted, hook_port: int, only: tuple[str, ...], progress: Callable[[Check], None]) -> Report:
    """Make the checks; webhooks are waited for where the shop can reach us: at `wanted.hook`, or on this machine.

    Raises httpx.HTTPError where the shop cannot be reached, OSError where the port is taken.
    """
    here = urlsplit(wanted.url).hostname in OUR_HOSTS
    async with AsyncExitStack() as stack:
        if wanted.write and (here or wanted.hook):
            # Whoever names an address of ours lets others in by it.
            host = "127.0.0.1" if here and not wanted.hook else "0.0.0.0"  # noqa: S104
            listener = await stack.enter_async_context(listening(host, hook_port))
            wanted = replace(wanted, listener=listener, hook=wanted.hook or f"http://127.0.0.1:{listener.port}")
        return await run(wanted, only=only, progress=progress)


def count(only: tuple[str, ...]) -> int:
    """How many checks there will be."""
    return sum(not only or check.id.startswith(only) for check in CHECKS)
