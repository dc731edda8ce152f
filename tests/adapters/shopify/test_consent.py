"""What comes back from the owner's consent is Shopify's, of now, and of this shop; or it is nothing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.consent import Consented
from adapters.shopify import scopes
from adapters.shopify.config import Kind, ShopifyConfig
from adapters.shopify.consent import ShopifyConsent, signed
from adapters.transport import Transport
from adapters.vault import OwnMemory
from domain.errors import Conflict, Forbidden, Invalid, Refused, Unauthorized
from tests.adapters.shopify.bench import CHANNEL

BACK = "https://acorn.example.com/channels/authorized"
# As published for the sake of implementers: the secret "hush", the query, its hmac.
TOLD = "code=abc123&host=YWJj&shop=demo.myshopify.com&state=n1&timestamp=1795420800"
HMAC = "b129b086f347635510070037e20e3b66aa15e662aa8c9c77bf3210c48a3487d8"
AT = datetime.fromtimestamp(1795420800, UTC)


def consent(kind: Kind = Kind.EXPIRING, wire: Any = None, **settings: Any) -> ShopifyConsent:
    app = {"client_id": "app", "client_secret": "hush", "redirect_uri": BACK} | settings
    config = ShopifyConfig(CHANNEL, "demo.myshopify.com", grant=kind, **app)
    nobody = httpx.MockTransport(lambda request: httpx.Response(500))
    return ShopifyConsent(config, Transport(wire=wire or nobody), OwnMemory())


def resigned(**changes: str) -> list[tuple[str, str]]:
    """A callback of Shopify's that says something else."""
    query = [*(dict(parse_qsl(TOLD)) | changes).items()]
    return [*query, ("hmac", signed(query, "hush"))]


def test_the_published_vector_is_taken() -> None:
    query = parse_qsl(TOLD)
    assert signed(query, "hush") == HMAC
    assert consent().code([*query, ("hmac", HMAC)], AT) == "abc123"
    # In any order, and beside the signature of former days.
    assert consent().code([("signature", "x"), ("hmac", HMAC), *reversed(query)], AT) == "abc123"


def test_blanks_are_signed_as_percent_20() -> None:
    query = [("code", "a b"), ("host", "a+b=")]
    assert signed(query, "hush") == signed([*reversed(query)], "hush")
    assert signed(query, "hush") != signed([("code", "a+b"), ("host", "a b=")], "hush")


@given(st.integers(0, len(TOLD) - 1), st.sampled_from("0aZ"))
def test_no_letter_of_it_can_be_changed(place: int, letter: str) -> None:
    changed = TOLD[:place] + letter + TOLD[place + 1 :]
    query = [*parse_qsl(changed, keep_blank_values=True), ("hmac", HMAC)]
    if parse_qsl(changed) == parse_qsl(TOLD):
        assert consent().code(query, AT) == "abc123"
    else:
        with pytest.raises(Refused):
            consent().code(query, AT)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (parse_qsl(TOLD), Forbidden),
        ([*parse_qsl(TOLD), ("hmac", "")], Forbidden),
        ([*parse_qsl(TOLD), ("hmac", "né")], Forbidden),
        ([*resigned(), ("code", "abc123")], Invalid),
        ([("hmac", HMAC)], Invalid),
        (resigned(shop="other.myshopify.com"), Conflict),
        (resigned(shop="demo.myshopify.com.example.com"), Forbidden),
        (resigned(shop="demo.example.com/x.myshopify.com"), Forbidden),
        (resigned(timestamp="now"), Forbidden),
        (resigned(timestamp="9" * 400), Forbidden),
        (resigned(timestamp="-1795420800"), Forbidden),
    ],
)
def test_what_is_not_this_shops_consent_is_refused(query: list[tuple[str, str]], kind: type[Refused]) -> None:
    with pytest.raises(Refused) as caught:
        consent().code(query, AT)
    assert type(caught.value) is kind


@pytest.mark.parametrize(("seconds", "good"), [(-91, False), (-90, True), (0, True), (90, True), (91, False)])
def test_it_is_good_for_90_seconds(seconds: int, good: bool) -> None:
    query = [*parse_qsl(TOLD), ("hmac", HMAC)]
    if good:
        assert consent().code(query, AT + timedelta(seconds=seconds))
    else:
        with pytest.raises(Forbidden, match="90 seconds"):
            consent().code(query, AT + timedelta(seconds=seconds))


def test_the_page_is_the_shops_own() -> None:
    url = urlsplit(consent().url("s1"))
    assert (url.scheme, url.netloc, url.path) == ("https", "demo.myshopify.com", "/admin/oauth/authorize")
    assert dict(parse_qsl(url.query, keep_blank_values=True)) == {
        "client_id": "app",
        "scope": ",".join(scopes.ASKED),
        "redirect_uri": BACK,
        "state": "s1",
        "grant_options[]": "",
    }
    assert "read_all_orders" not in scopes.ASKED
    asked = dict(parse_qsl(urlsplit(consent(scopes=("read_orders",)).url("s1")).query))
    assert asked["scope"] == "read_orders"


def test_a_page_that_cannot_be_asked_for_says_what_to_do() -> None:
    with pytest.raises(Invalid, match=r"names no redirect_uri\. Add the gateway's own address"):
        consent(redirect_uri=None).url("s")
    with pytest.raises(Invalid, match=r'set grant = "expiring"'):
        consent(Kind.TOKEN).url("s")


@pytest.mark.parametrize(
    ("kind", "granted", "given"),
    [
        (
            Kind.EXPIRING,
            {"access_token": "A", "expires_in": 3600, "refresh_token": "R", "refresh_token_expires_in": 7_776_000},
            Consented("R", timedelta(days=90)),
        ),
        (Kind.EXPIRING, {"access_token": "A", "refresh_token": "R"}, Consented("R", timedelta(days=90))),
        (Kind.LASTING, {"access_token": "A", "scope": ",".join(scopes.ASKED)}, Consented("A")),
        (
            Kind.LASTING,
            {"access_token": "A", "scope": ",".join(one for one in scopes.ASKED if one != "read_orders")},
            # Who may write orders may read them.
            Consented("A"),
        ),
        (
            Kind.LASTING,
            {"access_token": "A", "scope": ",".join(one for one in scopes.ASKED if one != "write_orders")},
            Consented("A", but="Without write_orders, orders can be neither canceled nor refunded."),
        ),
    ],
)
async def test_what_is_kept_of_a_code(kind: Kind, granted: dict[str, Any], given: Consented) -> None:
    forms: list[dict[str, str]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        forms.append(dict(parse_qsl(request.content.decode())))
        return httpx.Response(200, json=granted)

    assert await consent(kind, httpx.MockTransport(handle)).exchange("abc123") == given
    expiring = "1" if kind is Kind.EXPIRING else "0"
    assert forms == [{"code": "abc123", "expiring": expiring, "client_id": "app", "client_secret": "hush"}]


async def test_a_typed_token_is_tried_before_it_is_kept() -> None:
    told: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        told.append(request.headers["X-Shopify-Access-Token"])
        if told[-1] == "shpat_good":
            return httpx.Response(200, json={"data": {"shop": {"currencyCode": "EUR"}}})
        return httpx.Response(401, json={"errors": "[API] Invalid API key or access token"})

    asked = consent(Kind.TOKEN, httpx.MockTransport(handle), access_token="shpat_old")
    assert await asked.prove("shpat_good") == Consented("shpat_good")
    with pytest.raises(Unauthorized):
        await asked.prove("shpat_bad")
    assert told == ["shpat_good", "shpat_bad"]


def test_the_docs_name_every_scope_and_what_goes_without() -> None:
    page = (Path(__file__).parents[3] / "docs" / "shopify.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `((?:read|write)_[a-z_]+)` \| (needed|optional)[^|]* \| ([^|]+) \|$", page, re.MULTILINE)
    assert rows == [
        *((scope, "needed", words) for scope, words in scopes.NEEDED.items()),
        *((scope, "optional", words) for scope, words in scopes.OPTIONAL.items()),
    ]


def test_missing_scopes_are_named_with_what_goes_without() -> None:
    assert scopes.missing({"write_orders"}, ["read_orders", "write_orders", "read_products"]) == ["read_products"]
    assert scopes.missing({"read_orders"}, ["write_orders"]) == ["write_orders"]
    assert scopes.listed(" write_orders, read_products,") == {"write_orders", "read_products"}
    assert scopes.without(["read_products", "read_themes"]) == (
        "Without read_products, products and prices are not read. Without read_themes, what needs it is refused."
    )
