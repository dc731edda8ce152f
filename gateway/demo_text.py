"""What the demo is made of and what it says."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from domain.ids import Sku, node_id
from domain.money import Money
from domain.order import Order
from schema.scopes import ALL

# The key's own text is what is sent: `Authorization: Bearer demo-operator`.
KEYS: Mapping[str, frozenset[str]] = {
    "demo-storefront": frozenset({"stock:read", "catalog:read"}),
    "demo-checkout": frozenset({"stock:read", "catalog:read", "stock:reserve"}),
    "demo-operator": frozenset(
        {
            "stock:read",
            "stock:write",
            "catalog:read",
            "orders:read",
            "shipments:write",
            "refunds:write",
            "prices:write",
            "channels:write",
            "operations:approve",
            "schema:read",
        }
    ),
    "demo-finance": frozenset({"orders:read", "catalog:read", "finance:read", "finance:write"}),
    # All that can be read but the buyers, and nothing else.
    "demo-dashboard": frozenset({one for one in ALL if one.endswith(":read")}),
    "demo-admin": ALL,
}

# What a euro is worth in the demo, on each of its days.
RATES: Mapping[str, Decimal] = {"USD": Decimal("1.08"), "JPY": Decimal("163.50")}

# The credentials are the sandboxes' own and printed in their documentation.
CHANNELS = """\
[stock]
max_age = "PT5M"

[prices]
ask_market = "always"

[[channels]]
id = "amazon-us"
platform = "amazon"
name = "Amazon US"
region = "na"
marketplaces = ["US"]
seller_id = "A1SANDBOXNA"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-na"
application_id = "amzn1.sellerapps.app.sandbox"
redirect_uri = "{home}/channels/authorized"
sandbox = true
endpoint = "{amazon}"
buyers = true
visibility_lag = "PT{lag}S"
streams = {{ orders = "PT3M", shown = "PT5M" }}

[[channels]]
id = "amazon-eu"
platform = "amazon"
name = "Amazon EU"
region = "eu"
marketplaces = ["DE", "FR"]
seller_id = "A1SANDBOXEU"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-eu"
application_id = "amzn1.sellerapps.app.sandbox"
redirect_uri = "{home}/channels/authorized"
sandbox = true
endpoint = "{amazon}"
buyers = true
visibility_lag = "PT{lag}S"
streams = {{ orders = "PT3M", shown = "PT5M" }}

[[channels.pools]]
code = "fba-eu"
name = "FBA Europe"
marketplaces = ["DE", "FR"]

[[channels]]
id = "amazon-jp"
platform = "amazon"
name = "Amazon JP"
region = "fe"
marketplaces = ["JP"]
seller_id = "A1SANDBOXFE"
client_id = "amzn1.application-oa2-client.sandbox"
client_secret = "sandbox-secret"
refresh_token = "Atzr|sandbox-fe"
application_id = "amzn1.sellerapps.app.sandbox"
redirect_uri = "{home}/channels/authorized"
sandbox = true
endpoint = "{amazon}"
buyers = true
visibility_lag = "PT{lag}S"
streams = {{ orders = "PT3M", shown = "PT5M" }}

{storefront}
[[locations]]
code = "BER"
name = "Berlin"
keeper = "ledger"
opens_from = "shop"

[locations.address]
name = "Acorn Trading GmbH"
line1 = "Ritterstrasse 12"
city = "Berlin"
postal_code = "10969"
phone = "+49 30 5550100"
email = "parcels@acorn.example"
country = "DE"

[locations.shown]
shop = "{berlin}"

[[locations]]
code = "RNO"
name = "Reno"
keeper = "ledger"
opens_from = "shop"

[locations.address]
name = "Acorn Trading Inc."
line1 = "200 Sierra Street"
city = "Reno"
region = "NV"
postal_code = "89501"
phone = "+1 775 555 0100"
email = "parcels@acorn.example"
country = "US"

[locations.shown]
shop = "{reno}"

[[carriers]]
id = "parcels"
name = "The parcel desk"
url = "{carrier}/v1"
token = "ct_sandbox"

[[feeds_in]]
id = "wms-berlin"
secret = "whsec_a25vd24gdG8gZXZlcnlib2R5LCBmb3IgdGhlIGRlbW8="
locations = ["BER"]

[[tracking_in]]
id = "wms-berlin"
secret = "whsec_a25vd24gdG8gZXZlcnlib2R5LCBmb3IgdGhlIGRlbW8="
"""

SHOPIFY = """\
[[channels]]
id = "shop"
platform = "shopify"
name = "Acorn shop"
shop = "acorn-sandbox.myshopify.com"
access_token = "shpat_sandbox"
client_secret = "sandbox-secret"
webhook_url = "{home}/webhooks/shopify/shop"
sandbox = true
endpoint = "{shop}"
buyers = true
visibility_lag = "PT{lag}S"
payment_fee = "2.9 % + 0.30"
"""

REST = """\
[[channels]]
id = "shop"
platform = "rest"
name = "Acorn shop"
url = "{shop}/api/v1"
token = "st_sandbox"
sandbox = true
buyers = true
visibility_lag = "PT{lag}S"
payment_fee = "2.9 % + 0.30"
"""


@dataclass(frozen=True, slots=True)
class Storefront:
    """What the demo's shop can run on: the sandbox that stands in for it, how it is called, its block of acorn.toml, and its own
    names of our two places."""

    sandbox: str
    called: str
    block: str
    berlin: str
    reno: str
    lags: bool


STOREFRONTS: Mapping[str, Storefront] = {
    "shopify": Storefront(
        "shopify",
        "Shopify sandbox",
        SHOPIFY,
        "gid://shopify/Location/72000000000001",
        "gid://shopify/Location/72000000000002",
        lags=True,
    ),
    "rest": Storefront("shop", "Shop sandbox", REST, "loc_1", "loc_2", lags=False),
}

ADDRESSES = """
GraphQL            {home}/graphql    (a browser gets GraphiQL)
Health             {home}/readyz   {home}/metrics
Amazon sandbox     {amazon}/_sandbox/
{called:<18} {shop}/_sandbox/
Carrier sandbox    {carrier}/_sandbox/
Logs, acorn.toml   {folder}
Command line       cd {folder} && {acorn} --help

Keys, as `Authorization: Bearer …`
  demo-storefront  reads stock and products
  demo-checkout    reserves units too
  demo-operator    reads orders, holds, ships and refunds them, adjusts stock, prices and rules, runs streams, approves
  demo-finance     reads orders, costs, settlements and profit, and ties them out
  demo-dashboard   reads all of that together, and may do nothing
  demo-admin       may do everything, and sees who bought
"""

STOCK = """{ stock(skus: ["%s"], maxAge: "PT1M") {
    sku availableToSell freshness asOf
    levels { location { name } availableToSell freshness }
    explanation { label quantity source } } }"""

QUEUE = """{ orderQueue(first: 5) { totalCount nodes { minutesLeft obstacles
    order { externalId status fulfillments { location { code } status lines { sku quantity } } } } } }"""

PUT_OFF = """mutation { holdOrders(input: { orderIds: ["%s"], reason: OTHER, words: "A first try." }) {
    orders { status holds { words madeBy } } userErrors { message } } }"""

LET_GO = """mutation { releaseOrders(input: { orderIds: ["%s"] }) { orders { status } userErrors { message } } }"""

SHIP = """mutation { confirmShipments(input: { idempotencyKey: "%s", shipments: [
    { orderId: "%s", carrier: "DHL", trackingNumber: "%s", shippedAt: "%s" } ] }) {
    operation { id status } userErrors { message } } }"""

FOLLOW = """subscription { operation(id: "%s") {
    cursor operation { status progress { total accepted verified failed } } } }"""


HOLD = """mutation { reserveStock(input: { idempotencyKey: "%s", channelId: "Channel:shop", ttl: "PT5M",
    lines: [ { sku: "%s", quantity: 1 } ] }) {
    reservation { id status expiresAt } userErrors { message } } }"""

WATCH = """{ stock(skus: ["%s"]) {
    availableToSell explanation { label quantity } channels { channel { name } quantity confirmedAt } } }"""

# Until every channel was seen to show what can be sold, for a minute or so.
SEEN = """for TRY in $(seq 60); do STOCK=$(%s)
  LEFT=$(echo $STOCK | grep -o '"availableToSell":[0-9]*' | cut -d: -f2)
  echo $STOCK | sed "s/\\"quantity\\":$LEFT,\\"confirmedAt\\":\\"//g" | grep -q confirmedAt || break; sleep 1
done; echo $STOCK"""

RELEASE = """mutation { releaseReservation(id: "%s") { reservation { status } userErrors { message } } }"""


PREVIEW = """mutation { updatePrices(input: { dryRun: true, idempotencyKey: "%s", prices: [
    { sku: "%s", channelId: "Channel:shop", amount: "%s", currency: "%s" } ] }) {
    operation { id status items { nodes { key price { changePercent hits { guard message }
      before { price { amount currency } } after { price { amount } } } } } } userErrors { message } } }"""

APPROVE = """mutation { approveOperation(id: "%s") { operation { status } userErrors { message } } }"""


TIE_OUT = """{ settlements(first: 3) { totalCount nodes { externalId kind channel { name } startsAt endsAt
    total { amount currency } lineCount matchedLineCount difference { amount } summary { event class lines amount { amount } } } }
    residualSummary { cause age lines amount { amount currency } } }"""

EARNED = """{ profit(filter: { from: "%s", to: "%s", currency: "EUR" }, groupBy: [CHANNEL]) { dimensions { value } units
    revenue { amount currency } fees { amount } refunds { amount } cost { amount } profit { amount }
    unitsWithoutCost unitsWithoutFees } }"""

GLANCE = """query Glance($sku: String!, $today: DateTime!, $tomorrow: DateTime!, $month: DateTime!) {
    stock(skus: [$sku]) { sku availableToSell freshness channels { channel { name } quantity } }
    orders(first: 5) { nodes { placedAt channel { name } externalId status total { amount currency } } }
    today: profit(filter: { from: $today, to: $tomorrow, currency: "EUR" }, groupBy: [CHANNEL]) { ...earned }
    month: profit(filter: { from: $month, to: $tomorrow, currency: "EUR" }, groupBy: [CHANNEL]) { ...earned } }
    fragment earned on ProfitRow {
    dimensions { value } units revenue { amount } profit { amount } unitsWithoutCost unitsWithoutFees }"""


def curl(home: str, key: str, query: str, *options: str, variables: Mapping[str, str] | None = None) -> str:
    """A command to paste; its parts stand on lines of their own."""
    named = {} if variables is None else {"variables": variables}
    body = json.dumps({"query": re.sub(r"\s+", " ", query), **named})
    parts = [
        f"curl -s {home}/graphql",
        f"-H 'Authorization: Bearer {key}'",
        "-H 'Content-Type: application/json'",
        *options,
        f"-d '{body}'",
    ]
    return " \\\n  ".join(parts)


@dataclass(frozen=True, slots=True)
class Examples:
    """An order that we can ship now, a SKU that lies in many places, one that many channels sell from our warehouses, and one of
    the shop's with a price that it could have instead."""

    order: Order
    sku: Sku
    shared: Sku
    priced: Sku
    price: Money


def nine_things(home: str, examples: Examples) -> str:
    """What to try first: read, queue, hold, ship, follow, reserve, price, tie out what was paid, all at a glance."""
    order = examples.order
    key = f"first-try-{secrets.token_hex(3)}"
    tracking = f"00340434{secrets.randbelow(10**12):012}"
    now, today = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), datetime.now(UTC).date()
    id = node_id("Order", order.id)
    ship = curl(home, "demo-operator", SHIP % (key, id, tracking, now))
    # Ends the quoting, lets the shell put its variable in, and takes the quoting up again.
    follow = curl(home, "demo-operator", FOLLOW % "'$OPERATION'", "-N -H 'Accept: text/event-stream'")
    hold = curl(home, "demo-checkout", HOLD % (f"cart-{secrets.token_hex(3)}", examples.shared))
    price = examples.price
    preview = PREVIEW % (f"price-{secrets.token_hex(3)}", examples.priced, f"{price.amount:f}", price.currency)
    days = {"today": today, "tomorrow": today + timedelta(days=1), "month": today.replace(day=1)}
    glance = {"sku": examples.sku, **{name: f"{day}T00:00:00Z" for name, day in days.items()}}
    return "\n".join(
        [
            "Nine things to paste:\n",
            "1. What can be sold, and why? One answer from Amazon, the shop and the warehouses, with its bill.\n",
            curl(home, "demo-storefront", STOCK % examples.sku, "-H 'X-Acorn-Bill: 1'"),
            "\n2. What has to leave next, from where, and what keeps it from that?\n",
            curl(home, "demo-operator", QUEUE),
            f"\n3. Hold order {order.external_id} of {order.channel}, so that nobody ships it, and let it go again.\n",
            curl(home, "demo-operator", PUT_OFF % id),
            curl(home, "demo-operator", LET_GO % id),
            "\n4. Ship that order: kept as an operation, which a worker carries out.\n",
            f"OPERATION=$({ship} | grep -o 'Operation:[0-9a-f-]*'); echo $OPERATION",
            "\n5. Follow that operation until its effect has been read back at the channel.\n",
            follow,
            "\n6. Reserve a unit as a check-out does, see the number fall in every channel, give it back. It takes a moment; "
            "in the first minutes longer, since all numbers are told then.\n",
            f"RESERVATION=$({hold} | grep -o 'Reservation:[0-9a-f-]*'); echo $RESERVATION",
            SEEN % curl(home, "demo-storefront", WATCH % examples.shared),
            curl(home, "demo-checkout", RELEASE % "'$RESERVATION'"),
            "\n7. Raise a price at the shop: see what would change, then let just that go, and follow it until buyers see it.\n",
            f"PRICES=$({curl(home, 'demo-operator', preview)}); echo $PRICES",
            "OPERATION=$(echo $PRICES | grep -o 'Operation:[0-9a-f-]*')",
            curl(home, "demo-operator", APPROVE % "'$OPERATION'"),
            follow,
            "\n8. What was paid out and earned, and what of it is not tied out? Settlements come in within minutes; "
            "profit is too high where fees are not known yet (unitsWithoutFees).\n",
            curl(home, "demo-finance", TIE_OUT),
            curl(home, "demo-finance", EARNED % (f"{today - timedelta(days=30)}T00:00:00Z", f"{today}T00:00:00Z")),
            "\n9. A dashboard in one question: stock, the newest orders, what today and this month brought, by channel.\n",
            curl(home, "demo-dashboard", GLANCE, variables=glance),
            "\nCtrl-C stops all of it and leaves nothing behind.",
        ]
    )
