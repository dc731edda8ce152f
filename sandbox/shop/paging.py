"""One page of a list: rows in the order of their changes, and a cursor that names the last of them."""

import base64
import binascii
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import unquote, urlencode

from sandbox.shop.api import Answer, Call, Problem

T = TypeVar("T")
MOST_ROWS, USUAL_ROWS = 250, 50
Walk = Callable[[datetime], Iterator[tuple[datetime, T]]]


def page(call: Call, walk: Walk[T], view: Callable[[T], Any], keep: Callable[[T], bool] = lambda _: True) -> Answer:
    """The page that the query asks for: `limit`, `cursor`, `updated_since`."""
    broken = call.shop.broken
    limit = _limit(call)
    since = instant(call, "updated_since") or call.shop.origin
    after = _cursor(call)
    skip = after if isinstance(after, int) else 0
    begin = max(since, after) if isinstance(after, datetime) else since
    rows = (
        (at, one)
        for at, one in walk(begin)
        if (not isinstance(after, datetime) or at > after)
        and not ("paging.since" in broken and at == since and call.query("updated_since"))
        and keep(one)
    )
    found = list(islice(rows, skip, skip + limit + 1))
    told, more = found[:limit], found[limit:]
    headers, cursor = {}, None
    if more:
        last = more[0][0] if "paging.walk" in broken else told[-1][0]
        cursor = _encoded(str(skip + limit) if "paging.changes" in broken else last.isoformat())
        if "paging.link" not in broken:
            query = {**call.request.query_params, "cursor": cursor}
            headers["Link"] = f'<{call.request.url.replace(query=urlencode(query))}>; rel="next"'
    if "paging.order" in broken:
        told.reverse()
    return Answer({"data": [view(one) for _, one in told], "next_cursor": cursor}, headers=headers)


def instant(call: Call, name: str) -> datetime | None:
    """A time of the query, with its zone."""
    given = call.query(name)
    if given is None:
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError as problem:
        raise Problem("bad-request", f"{name} is a time such as 2026-11-23T08:00:00Z") from problem
    if at.tzinfo is None:
        raise Problem("bad-request", f"{name} has no zone")
    return at


def skus(call: Call) -> list[str]:
    """The SKUs of the query, at most 100; none where it names none."""
    given = call.query("sku")
    named = [unquote(sku) for sku in given.split(",") if sku] if given else []
    if given is not None and not 1 <= len(named) <= 100:
        raise Problem("bad-request", "sku names 1 to 100 SKUs")
    return list(dict.fromkeys(named))


def _limit(call: Call) -> int:
    given = call.query("limit") or str(USUAL_ROWS)
    limit = int(given) if given.isascii() and given.isdigit() else 0
    if "paging.limit" in call.shop.broken:
        return USUAL_ROWS
    if not 1 <= limit <= MOST_ROWS:
        raise Problem("bad-request", f"limit lies between 1 and {MOST_ROWS}")
    return limit


def _cursor(call: Call) -> datetime | int | None:
    """Where the page begins: after an instant, or, in a shop that is broken so, after so many rows."""
    given = call.query("cursor")
    if given is None:
        return None
    try:
        told = base64.urlsafe_b64decode(given.encode() + b"=" * (-len(given) % 4)).decode()
        return int(told) if "paging.changes" in call.shop.broken else datetime.fromisoformat(told)
    except (ValueError, binascii.Error) as problem:
        if "paging.cursor" in call.shop.broken:
            return None
        raise Problem("invalid-cursor", "Begin anew") from problem


def _encoded(told: str) -> str:
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")
