"""A shop's places on the command line, against what acorn.toml says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from sandbox.visit import serving
from tests.gateway.conftest import Acorn, plain

BERLIN, RENO = "gid://shopify/Location/72000000000001", "gid://shopify/Location/72000000000002"
SHOP = """
[[channels]]
id = "shop"
platform = "shopify"
name = "Acorn"
shop = "acorn-sandbox.myshopify.com"
endpoint = "{endpoint}"
access_token = "shpat_sandbox"
"""
PLACE = """
[[locations]]
code = "{code}"
name = "{code}"
keeper = "shop"
external_id = "{gid}"
"""


@pytest.fixture(scope="module")
async def endpoint() -> AsyncIterator[str]:
    async with serving("shopify", products=20, orders=5) as url:
        yield url


def named(endpoint: str, **gids: str) -> None:
    """An acorn.toml with these places."""
    places = "".join(PLACE.format(code=code, gid=gid) for code, gid in gids.items())
    Path("acorn.toml").write_text(SHOP.format(endpoint=endpoint) + places, encoding="utf-8")


def test_places_that_agree_are_listed_with_their_gids(acorn: Acorn, endpoint: str) -> None:
    named(endpoint, BER=BERLIN, RNO=RENO)
    told = acorn("channels", "locations", "shop")
    assert told.exit_code == 0
    assert plain(told).splitlines() == [f"{BERLIN}  DE  active  Berlin", f"{RENO}  US  active  Reno"]
    assert "  ok  places of shop: Berlin, Reno, as configured" in plain(acorn("doctor"))


def test_a_place_that_is_gone_and_one_that_nobody_names_are_told_with_what_to_do(acorn: Acorn, endpoint: str) -> None:
    named(endpoint, BER=BERLIN, ROM="gid://shopify/Location/9")
    told = acorn("channels", "locations", "shop")
    assert told.exit_code == 1
    assert f"{RENO}  US  active  Reno" in told.stdout
    assert "ROM is gid://shopify/Location/9 there, and shop has no such place." in told.stderr
    assert f"shop sells from Reno ({RENO}), which acorn.toml does not name" in told.stderr
    words = plain(acorn("doctor"))
    assert "note  places of shop: ROM is gid://shopify/Location/9 there, and shop has no such place." in words
    assert "Add a [[locations]] table with this id" in words


def test_a_deactivated_place_is_told(acorn: Acorn, endpoint: str) -> None:
    named(endpoint, BER=BERLIN, RNO=RENO)
    httpx.post(f"{endpoint}/_sandbox/places", json={"closed": ["Reno"]}, timeout=30).raise_for_status()
    try:
        told = acorn("channels", "locations", "shop")
    finally:
        httpx.post(f"{endpoint}/_sandbox/places", json={"closed": []}, timeout=30).raise_for_status()
    assert told.exit_code == 1
    assert f"{RENO}  US  deactivated  no online orders  Reno" in told.stdout
    assert "RNO is Reno there, which is deactivated" in told.stderr


def test_a_channel_that_there_is_none_of(acorn: Acorn, endpoint: str) -> None:
    named(endpoint, BER=BERLIN, RNO=RENO)
    told = acorn("channels", "locations", "amazon-eu")
    assert told.exit_code == 1
    assert "is called amazon-eu; there is shop." in told.stderr
