"""What the law asks is told with its date, done by hand, and a shop is erased only by whoever says so twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.hint import Hint, HintKind
from domain.ids import ChannelId
from domain.privacy import PrivacyKind, PrivacyRequest
from store import hint, privacy
from tests.gateway.conftest import CHANNELS, Acorn, in_store, plain

Run = Callable[[Callable[[AsyncConnection], Awaitable[object]]], object]


@pytest.fixture
def run(database_url: str) -> Run:
    """Does something in a transaction."""
    return partial(in_store, database_url)


def asked(id: str, kind: PrivacyKind, channel: str = "shop", ago: timedelta = timedelta()) -> PrivacyRequest:
    buyer = None if kind is PrivacyKind.SHOP_REDACT else "gid://shopify/Customer/1"
    orders = () if buyer is None else ("gid://shopify/Order/7",)
    return PrivacyRequest(ChannelId(channel), id, kind, buyer, orders, datetime.now(UTC) - ago)


def test_what_is_overdue_is_told_until_it_is_done(acorn: Acorn, run: Run) -> None:
    assert plain(acorn("privacy", "list")) == ""
    run(lambda tx: privacy.keep(tx, [asked("a", PrivacyKind.DATA_REQUEST, ago=timedelta(days=31))]))
    told = acorn("privacy", "list")
    assert told.exit_code == 1
    assert plain(told).startswith("1  shop  DATA_REQUEST  due ")
    assert "OVERDUE" in plain(told)
    assert "buyer gid://shopify/Customer/1, orders gid://shopify/Order/7" in plain(told)
    assert acorn("privacy", "done", "1", "--note", "sent by letter").exit_code == 0
    assert plain(acorn("privacy", "list")) == ""
    assert "sent by letter" in plain(acorn("privacy", "list", "--all"))
    assert acorn("privacy", "done", "1").exit_code == 1


def test_a_shop_is_erased_when_it_has_left_and_is_named_once_more(acorn: Acorn, run: Run) -> None:
    gone = ChannelId("gone")
    at = datetime.now(UTC)
    run(lambda tx: hint.keep(tx, [Hint(gone, "n-1", "orders/updated", HintKind.ORDER, "1", at)]))
    run(
        lambda tx: privacy.keep(
            tx, [asked("a", PrivacyKind.SHOP_REDACT, "gone"), asked("b", PrivacyKind.BUYER_REDACT, "gone")]
        )
    )
    assert "confirm it with --confirm gone" in plain(acorn("privacy", "erase", "1", "--confirm", "shop"))
    assert "No open SHOP_REDACT has the number 2" in plain(acorn("privacy", "erase", "2", "--confirm", "gone"))
    Path("acorn.toml").write_text(CHANNELS.replace('id = "shop"', 'id = "gone"'), encoding="utf-8")
    refused = acorn("privacy", "erase", "1", "--confirm", "gone")
    assert refused.exit_code == 1
    assert "stands in acorn.toml" in plain(refused)
    Path("acorn.toml").write_text(CHANNELS, encoding="utf-8")
    done = acorn("privacy", "erase", "1", "--confirm", "gone")
    assert done.exit_code == 0
    assert "1  hint" in plain(done)
    assert "erased: hint 1" in plain(acorn("privacy", "list", "--all"))
    assert acorn("privacy", "erase", "1", "--confirm", "gone").exit_code == 1


def test_what_breaks_off_goes_on_when_it_is_called_again(
    acorn: Acorn, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, at = ChannelId("gone"), datetime.now(UTC)
    run(lambda tx: hint.keep(tx, [Hint(gone, f"n-{n}", "orders/updated", HintKind.ORDER, "1", at) for n in range(3)]))
    run(lambda tx: privacy.keep(tx, [asked("a", PrivacyKind.SHOP_REDACT, "gone")]))
    monkeypatch.setattr(privacy, "AT_ONCE", 1)
    erase, times = privacy.erase, 0

    async def breaks_off(tx: AsyncConnection, channel: ChannelId) -> dict[str, int]:
        nonlocal times
        times += 1
        if times == 3:
            raise OSError("The network is gone.")
        return await erase(tx, channel)

    monkeypatch.setattr(privacy, "erase", breaks_off)
    assert acorn("privacy", "erase", "1", "--confirm", "gone").exit_code != 0
    assert plain(acorn("privacy", "list")).startswith("1  gone  SHOP_REDACT  due ")
    assert "1  hint" in plain(acorn("privacy", "erase", "1", "--confirm", "gone"))
    assert plain(acorn("privacy", "list")) == ""
