"""What the demo is made of and what it says."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime

from domain.ids import node_id
from domain.order import Order
from schema.scopes import ALL

# The key's own text is what is sent: `Authorization: Bearer demo-operator`.
KEYS: Mapping[str, frozenset[str]] = {
    "demo-storefront": frozenset({"stock:read", "catalog:read"}),
    "demo-operator": frozenset({"stock:read", "catalog:read", "orders:read", "shipments:write", "operations:approve"}),
    "demo-finance": frozenset({"orders:read", "catalog:read", "finance:read"}),
    "demo-admin": ALL,
}

# The credentials are the sandboxes' own and printed in their documentation.
CHANNELS = """\
[stock]
max_age = "PT5M"

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
sandbox = true
endpoint = "{amazon}"
visibility_lag = "PT{lag}S"

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
sandbox = true
endpoint = "{amazon}"
visibility_lag = "PT{lag}S"

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
sandbox = true
endpoint = "{amazon}"
visibility_lag = "PT{lag}S"

[[channels]]
id = "shop"
platform = "shopify"
name = "Acorn shop"
shop = "acorn-sandbox.myshopify.com"
access_token = "shpat_sandbox"
sandbox = true
endpoint = "{shopify}"
visibility_lag = "PT{lag}S"

[[locations]]
code = "BER"
name = "Berlin"
keeper = "shop"
external_id = "gid://shopify/Location/72000000000001"

[[locations]]
code = "RNO"
name = "Reno"
keeper = "shop"
external_id = "gid://shopify/Location/72000000000002"
"""

ADDRESSES = """
GraphQL            {home}/graphql    (a browser gets GraphiQL)
Health             {home}/readyz   {home}/metrics
Amazon sandbox     {amazon}/_sandbox/
Shopify sandbox    {shopify}/_sandbox/
Logs               {folder}

Keys, as `Authorization: Bearer …`
  demo-storefront  reads stock and products
  demo-operator    reads orders too, ships them, approves operations
  demo-finance     reads orders and costs
  demo-admin       may do everything
"""

STOCK = """{ stock(skus: ["%s"], maxAge: "PT1M") {
    sku availableToSell freshness asOf
    levels { location { name } availableToSell freshness }
    explanation { label quantity source } } }"""

SHIP = """mutation { confirmShipments(input: { idempotencyKey: "%s", shipments: [
    { orderId: "%s", carrier: "DHL", trackingNumber: "%s", shippedAt: "%s" } ] }) {
    operation { id status } userErrors { message } } }"""

FOLLOW = """subscription { operation(id: "%s") {
    cursor operation { status progress { total accepted verified failed } } } }"""


def curl(home: str, key: str, query: str, *options: str) -> str:
    """A command to paste; its parts stand on lines of their own."""
    body = json.dumps({"query": re.sub(r"\s+", " ", query)})
    parts = [
        f"curl -s {home}/graphql",
        f"-H 'Authorization: Bearer {key}'",
        "-H 'Content-Type: application/json'",
        *options,
        f"-d '{body}'",
    ]
    return " \\\n  ".join(parts)


def three_things(home: str, sku: str, order: Order) -> str:
    """What to try first: read, write, follow."""
    key = f"first-try-{secrets.token_hex(3)}"
    tracking = f"00340434{secrets.randbelow(10**12):012}"
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ship = curl(home, "demo-operator", SHIP % (key, node_id("Order", order.id), tracking, now))
    # Ends the quoting, lets the shell put its variable in, and takes the quoting up again.
    follow = curl(home, "demo-operator", FOLLOW % "'$OPERATION'", "-N -H 'Accept: text/event-stream'")
    return "\n".join(
        [
            "Three things to paste:\n",
            "1. What can be sold, and why? One answer from Amazon, the shop and the warehouses, with its bill.\n",
            curl(home, "demo-storefront", STOCK % sku, "-H 'X-Acorn-Bill: 1'"),
            f"\n2. Ship order {order.external_id} of {order.channel}: kept as an operation, which a worker carries out.\n",
            f"OPERATION=$({ship} | grep -o 'Operation:[0-9a-f-]*'); echo $OPERATION",
            "\n3. Follow that operation until its effect has been read back at the channel.\n",
            follow,
            "\nCtrl-C stops all of it and leaves nothing behind.",
        ]
    )
