"""`acorn calls`: the log of calls, for people to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from domain.exchange import Exchange, about_item, about_order, about_sku
from domain.ids import ChannelId
from store import exchange
from store.exchange import Wanted
from store.session import Store

# Columns for programs and files, which have no width of their own.
WIDE = 240
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def wanted(
    *,
    now: datetime,
    order: str | None = None,
    sku: str | None = None,
    item: int | None = None,
    request_id: str | None = None,
    channel: str | None = None,
    operation: str | None = None,
    failed: bool = False,
    since: str | None = None,
) -> Wanted:
    """What to look for. Raises ValueError with a sentence."""
    about = [
        word
        for value, word in (
            (order, about_order(order or "")),
            (sku, about_sku(sku or "")),
            (item, about_item(item or 0)),
        )
        if value is not None
    ]
    if len(about) > 1:
        raise ValueError("Say one of --order, --sku and --item.")
    return Wanted(
        channel=None if channel is None else ChannelId(channel),
        operation=operation,
        subjects=tuple(about) or None,
        upstream_request_id=request_id,
        failed=True if failed else None,
        since=None if since is None else now - _span(since),
    )


def _span(told: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,5})([smhd])", told)
    if found is None:
        raise ValueError(f"--since {told!r} is no time such as 90s, 15m, 1h or 7d.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


async def read(store: Store, asked: Wanted, limit: int) -> list[Exchange]:
    """The newest calls."""
    async with store.begin() as tx:
        return (await exchange.page(tx, asked, first=limit))[0]


def shown(calls: Sequence[Exchange], *, body: bool) -> Iterator[RenderableType]:
    """A table; with `body` each call by itself, with what was said."""
    if body:
        yield from map(_whole, calls)
        return
    table = Table(box=None, pad_edge=False)
    for name in ("at", "channel", "operation", "status", "seconds", "failure", "request id", "about"):
        # What support asks for is never cut; what it was about gives way first.
        table.add_column(
            name,
            justify="right" if name in ("status", "seconds") else "left",
            overflow="fold",
            no_wrap=name == "request id",
        )
    for one in calls:
        table.add_row(*map(Text, _row(one)))
    yield table


def _row(one: Exchange) -> tuple[str, ...]:
    more = f" and {len(one.subjects) - 3} more" if len(one.subjects) > 3 else ""
    return (
        f"{one.at:%Y-%m-%d %H:%M:%S}",
        one.channel,
        one.operation,
        "-" if one.status is None else str(one.status),
        f"{one.seconds:.3f}",
        one.failure or "",
        one.upstream_request_id or "",
        " ".join(one.subjects[:3]) + more,
    )


def _whole(one: Exchange) -> Group:
    parts = [
        Text("  ".join(filter(None, _row(one))), style="bold"),
        Text(f"{one.method} {one.path}\n{one.request_headers}"),
        Text(_said(one.request, one.request_bytes)),
        Text(f"{one.status or 'no answer'}\n{one.response_headers}"),
        Text(_said(one.response, one.response_bytes)),
        Text(""),
    ]
    return Group(*parts)


def _said(text: str | None, size: int) -> str:
    return text if text is not None else f"[{size} bytes]" if size else ""
