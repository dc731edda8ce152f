"""Checks of the beginning: the shop, its token, its failures, and the shapes of what it tells."""

from __future__ import annotations

import httpx

from conformance.contract import Fault
from conformance.kit import PART_OF, SAMPLES, UNTOLD, Failed, Shop, Skipped, body, check, refused

NOBODY = "acorn-nobody-has-this"
PROBES = {
    "products": "/products",
    "stock": "/stock",
    "orders": "/orders",
    "payouts": "/payouts",
    "webhooks": "/webhook-endpoints",
    "shipments": f"/shipments/{NOBODY}",
    "refunds": f"/orders/{NOBODY}/refunds",
    "jobs": f"/jobs/{NOBODY}",
}
SCOPE_OF = {"products": "catalog:read", "stock": "stock:read", "orders": "orders:read", "payouts": "finance:read"}


@check("start.shop", "GET /", "asks GET /", "Answer GET / with contract, name, currency, parts, limits and scopes.")
async def shop_told(shop: Shop) -> None:
    answer = await shop.get("/")
    if answer.status_code == 401:
        raise Failed("the token is refused: 401. Nothing else can be asked with it")
    body(answer, 200)
    _none_of([fault for fault in shop.faults("GET", "/", answer) if not _elsewhere(fault)])
    unknown = [part for part in shop.parts if not any(part == each.part for each in shop.contract.operations)]
    if unknown:
        raise Failed(f"parts names {unknown[0]!r}, which the contract does not know")


@check(
    "start.token",
    "Failures",
    "asks with a token nobody gave",
    "Answer 401 `unauthorized` to any token you did not give.",
)
async def token_wanted(shop: Shop) -> None:
    for token in (NOBODY, ""):
        refused(await shop.get("/", token=token), 401, "unauthorized")


@check(
    "start.health",
    "GET /health",
    "asks GET /health/live and /health/ready",
    "Answer both health paths, without a token.",
)
async def healthy(shop: Shop) -> None:
    for path in ("/health/live", "/health/ready"):
        answer = await shop.get(path, token="")
        if answer.status_code != 200:
            raise Failed(f"{path} answered {answer.status_code}")


@check("start.request-id", "X-Request-Id", "sends an X-Request-Id", "Give the client's X-Request-Id back, or make one.")
async def request_id(shop: Shop) -> None:
    sent = "acorn-check-1"
    answer = await shop.get("/", headers={"X-Request-Id": sent})
    if answer.headers.get("X-Request-Id") != sent:
        raise Failed(f"sent {sent}, got {answer.headers.get('X-Request-Id')}")


@check(
    "start.rate-limit",
    "Rates",
    "looks at the headers of GET /",
    "Send RateLimit-Policy and RateLimit with every answer.",
)
async def rate_limit(shop: Shop) -> None:
    faults = shop.faults("GET", "/", await shop.get("/"))
    _none_of([fault for fault in faults if fault.at.startswith("RateLimit")])


@check(
    "start.problems",
    "Failures",
    "makes the shop refuse",
    "Send failures as application/problem+json with type, title and status.",
)
async def problems(shop: Shop) -> None:
    answers = [await shop.get("/", token=NOBODY)]
    answers += [await shop.get(f"{PROBES[part]}?limit=0") for part in ("products", "orders") if part in shop.parts]
    failures = [answer for answer in answers if answer.status_code >= 400]
    if not failures:
        raise Skipped("nothing was refused")
    for answer in failures:
        media = answer.headers.get("content-type", "").partition(";")[0]
        if media != "application/problem+json":
            raise Failed(f"a {answer.status_code} is {media}")
        _none_of(shop.contract.value_faults("Problem", body(answer, answer.status_code)))
        if answer.json()["status"] != answer.status_code:
            raise Failed(f"a {answer.status_code} says status {answer.json()['status']}")


@check(
    "start.not-found",
    "Failures",
    "asks for ids there are none of",
    "Answer 404 `not-found` for an id that you do not know.",
)
async def not_found(shop: Shop) -> None:
    paths = {"products": "/products/", "orders": "/orders/", "shipments": "/shipments/"}
    asked = [path for part, path in paths.items() if part in shop.parts]
    if not asked:
        raise Skipped("nothing can be asked for by id")
    for path in asked:
        refused(await shop.get(path + NOBODY), 404, "not-found")


@check(
    "start.parts",
    "Parts",
    "asks a path of each part",
    "Name a part exactly if its paths are there; else answer 404 or 501.",
)
async def parts(shop: Shop) -> None:
    if not shop.told:
        raise Skipped(UNTOLD)
    for part, path in PROBES.items():
        answer = await shop.get(path)
        if part in shop.parts and answer.status_code == 501:
            raise Failed(f"{part} is named, and {path} answers 501")
        if part not in shop.parts and answer.status_code not in (404, 501):
            raise Failed(f"{part} is not named, and {path} answers {answer.status_code}")


async def _bought(shop: Shop, **changed: str) -> httpx.Response:
    wanted = shop.wanted
    if not wanted.client_id or not wanted.client_secret:
        raise Skipped("name a client with --client-id and --client-secret")
    form = {"grant_type": "client_credentials", "client_id": wanted.client_id, "client_secret": wanted.client_secret}
    return await shop.ask("POST", "/oauth/token", token="", data={**form, **changed})


@check(
    "token.grant",
    "POST /oauth/token",
    "buys a token and uses it",
    "Answer as RFC 6749 says, with Cache-Control: no-store.",
    parts=("token",),
)
async def token_bought(shop: Shop) -> None:
    answer = await _bought(shop)
    _none_of(shop.faults("POST", "/oauth/token", answer))
    body(await shop.get("/", token=body(answer, 200)["access_token"]), 200)


@check(
    "token.refused",
    "POST /oauth/token",
    "buys with a wrong secret",
    "Answer 401 `invalid_client` to a wrong secret.",
    parts=("token",),
)
async def token_refused(shop: Shop) -> None:
    answer = await _bought(shop, client_secret=NOBODY)
    if answer.status_code not in (400, 401) or body(answer, answer.status_code).get("error") != "invalid_client":
        raise Failed(f"a wrong secret answered {answer.status_code}")


@check(
    "token.scopes",
    "POST /oauth/token",
    "buys a token for one scope and asks for another",
    "Answer 403 `forbidden-scope`.",
    parts=("token",),
)
async def scopes(shop: Shop) -> None:
    able = [part for part in SCOPE_OF if part in shop.parts]
    if len(able) < 2:
        raise Skipped("one scope is all there is")
    token = body(await _bought(shop, scope=SCOPE_OF[able[0]]), 200)["access_token"]
    body(await shop.get(PROBES[able[0]], token=token), 200)
    refused(await shop.get(PROBES[able[1]], token=token), 403, "forbidden-scope")


# shapes of what is told: a fault belongs to money, to times or to its part


def kind_of(fault: Fault) -> str:
    last = fault.keys[-1] if fault.keys else ""
    if last in ("amount", "currency") and len(fault.keys) > 1:
        return "money"
    return "times" if last.endswith("_at") or last == "ship_by" else "shape"


async def _faults(shop: Shop, names: tuple[str, ...], kind: str) -> list[str]:
    found = []
    for name in names:
        path = SAMPLES[name].partition("?")[0]
        faults = await shop.sample_faults(name)
        found += [f"{path} {fault}" for fault in faults if kind_of(fault) == kind and not _elsewhere(fault)]
    return found


def _elsewhere(fault: Fault) -> bool:
    """Headers are looked at by checks of their own."""
    return fault.at.startswith("RateLimit") or fault.at in ("Link", "ETag", "X-Request-Id")


def _first(found: list[str]) -> None:
    if found:
        raise Failed(found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else ""))


def _none_of(faults: list[Fault]) -> None:
    _first([str(fault) for fault in faults])


async def _everything(shop: Shop, kind: str) -> None:
    names = tuple(name for name in SAMPLES if PART_OF.get(name, name) in shop.parts and name != "locations")
    if not names:
        raise Skipped("the shop lists nothing")
    _first(await _faults(shop, names, kind))


@check(
    "shapes.money",
    "Names, times, money",
    "reads every list",
    'Send amounts as decimal strings: {"amount": "26.90", "currency": "EUR"}.',
)
async def money(shop: Shop) -> None:
    await _everything(shop, "money")


@check(
    "shapes.times",
    "Names, times, money",
    "reads every list",
    "Send times in UTC with their zone: 2026-11-23T08:00:00Z.",
)
async def times(shop: Shop) -> None:
    await _everything(shop, "times")


@check(
    "products.shape",
    "GET /products",
    "reads products",
    "Send products as the schema `Product` says.",
    parts=("products",),
)
async def products(shop: Shop) -> None:
    _first(await _faults(shop, ("products",), "shape"))


@check(
    "stock.shape",
    "GET /stock",
    "reads levels and locations",
    "Send levels and locations as their schemas say.",
    parts=("stock",),
)
async def stock(shop: Shop) -> None:
    _first(await _faults(shop, ("stock", "locations"), "shape"))


@check(
    "orders.shape",
    "GET /orders",
    "reads orders",
    "Send orders as the schema `Order` says, with its words for states.",
    parts=("orders",),
)
async def orders(shop: Shop) -> None:
    _first(await _faults(shop, ("orders",), "shape"))


@check(
    "payouts.shape",
    "GET /payouts",
    "reads payouts and transactions",
    "Send both as their schemas say.",
    parts=("payouts",),
)
async def payouts(shop: Shop) -> None:
    _first(await _faults(shop, ("payouts", "transactions"), "shape"))


@check(
    "refunds.shape",
    "GET /orders/{id}/refunds",
    "reads refunds of orders that have some",
    "Send refunds as the schema `Refund` says.",
    parts=("refunds",),
)
async def refunds(shop: Shop) -> None:
    given_back = ("partially_refunded", "refunded")
    fit = [row["id"] for row in await shop.rows("orders") if row.get("payment_status") in given_back]
    if not fit:
        raise Skipped("no order on the first page was given money back")
    for id in fit[:3]:
        path = f"/orders/{id}/refunds"
        faults = shop.faults("GET", path, await shop.get(path))
        _first([f"{path} {fault}" for fault in faults if kind_of(fault) == "shape" and not _elsewhere(fault)])
