"""Listings Items 2021-08-01: patchListingsItem. Accepted at once, visible after the lag."""

import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from sandbox.amazon import offers
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure
from sandbox.amazon.listings import ITEM, find, marketplaces, own, product_type
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query
from sandbox.amazon.state import Amazon, Attributes
from sandbox.world import Product

PARAMETERS = ("marketplaceIds", "includedData", "mode", "issueLocale")

_OPS = ("add", "replace", "merge", "delete")
_SELECTORS = {
    "fulfillment_availability": ("fulfillment_channel_code",),
    "purchasable_offer": ("marketplace_id", "currency", "audience"),
}
_PLAIN = ("marketplace_id", "language_tag")
_KNOWN = (
    *_SELECTORS,
    "item_name",
    "brand",
    "color",
    "size",
    "condition_type",
    "externally_assigned_product_identifier",
    "product_description",
    "bullet_point",
    "list_price",
    "merchant_shipping_group",
    "max_order_quantity",
)
_AVAILABILITY = (
    "fulfillment_channel_code",
    "quantity",
    "marketplace_id",
    "lead_time_to_ship_max_days",
    "restock_date",
    "is_inventory_available",
)


@dataclass(frozen=True, slots=True)
class _Patch:
    op: str
    attribute: str
    entries: list[dict[str, Any]]


def patch(amazon: Amazon, account: Account, sku: str, query: Query, body: object) -> dict[str, Any]:
    """The submission's answer: 200 also for an INVALID one, of which nothing is kept. 400 for a malformed body."""
    codes = marketplaces(query, account)
    included = query.csv("includedData", among=("identifiers", "issues")) or ["issues"]
    preview = query.one_of("mode", ("VALIDATION_PREVIEW",)) is not None
    stated_type, patches = _parse(query, body)
    product = find(amazon, account, sku, codes)
    issues = _all_issues(account, product, codes, stated_type, patches)
    submission = str(uuid.uuid4())
    status = "INVALID" if issues else "VALID" if preview else "ACCEPTED"
    if status == "ACCEPTED" and not _ignored(amazon, sku):
        _carry_out(amazon, account, product, codes, patches, {"submissionId": submission})
    answer: dict[str, Any] = {"sku": sku, "status": status, "submissionId": submission}
    if "issues" in included:
        answer["issues"] = issues
    if "identifiers" in included:
        answer["identifiers"] = [{"marketplaceId": MARKETPLACES[c].id, "asin": product.asin} for c in codes]
    return answer


def from_feed(
    amazon: Amazon, account: Account, codes: list[str], message: dict[str, Any], feed: str
) -> list[dict[str, Any]]:
    """Carry out one message of a listings feed as if it had been a patch; the issues for which it is not."""
    sku = str(message.get("sku"))
    try:
        stated_type, patches = _parse(Query("", ()), message)
        product = find(amazon, account, sku, codes)
    except Failure as failure:
        return [_issue("99022", failure.details, "patches", "INVALID_ATTRIBUTE", codes)]
    issues = _all_issues(account, product, codes, stated_type, patches)
    if not issues and not _ignored(amazon, sku):
        _carry_out(amazon, account, product, codes, patches, {"feedId": feed, "messageId": message["messageId"]})
    return issues


def _all_issues(
    account: Account, product: Product, codes: list[str], stated_type: str, patches: list[_Patch]
) -> list[dict[str, Any]]:
    issues = _type_issues(stated_type, product_type(product), codes)
    for one in patches:
        issues += _issues(one, account, codes)
    return issues


def _carry_out(
    amazon: Amazon,
    account: Account,
    product: Product,
    codes: list[str],
    patches: list[_Patch],
    source: dict[str, Any],
) -> None:
    """Accept the patches now and show them after the lag, upon what is visible then: a sale in between is not undone by a
    patch that says nothing of the quantity, and is by one that does."""
    ids = [MARKETPLACES[code].id for code in codes]
    listing = amazon.listing(account, product)
    listing.accepted = _all_applied(listing.accepted, patches, ids)
    amazon.keep(account, listing)
    amazon.journal.effect(
        "patchListingsItem",
        product.sku,
        {
            "sellerId": account.seller,
            "marketplaceIds": ids,
            "patches": [{"op": p.op, "path": f"/attributes/{p.attribute}", "value": p.entries} for p in patches],
            **source,
        },
    )

    def show() -> None:
        with amazon.telling(account, product):
            listing.visible = _all_applied(listing.visible, patches, ids)
            listing.updated_at = amazon.clock.now()

    amazon.later(show)


def _ignored(amazon: Amazon, sku: str) -> bool:
    """Whether this patch is one of those that were ordered to have no effect; it then counts as done."""
    for name in (sku, "*"):
        if left := amazon.ignored.get(name, 0):
            amazon.ignored[name] = left - 1
            return True
    return False


def _parse(query: Query, body: object) -> tuple[str, list[_Patch]]:
    if not isinstance(body, dict):
        raise query.wrong("The body is not a JSON object.")
    stated_type, patches = body.get("productType"), body.get("patches")
    if not isinstance(stated_type, str) or not stated_type:
        raise query.wrong("'productType' is required.")
    if not isinstance(patches, list) or not patches:
        raise query.wrong("'patches' must be an array of one patch or more.")
    return stated_type, [_one(query, entry) for entry in patches]


def _one(query: Query, entry: object) -> _Patch:
    if not isinstance(entry, dict):
        raise query.wrong("A patch is an object.")
    op, path, value = entry.get("op"), entry.get("path"), entry.get("value")
    if op not in _OPS:
        raise query.wrong(f"'op' must be one of {', '.join(_OPS)}.")
    parts = path.split("/") if isinstance(path, str) else []
    if len(parts) != 3 or parts[:2] != ["", "attributes"] or not parts[2]:
        raise query.wrong("'path' must name a top-level attribute: /attributes/{name}.")
    if not isinstance(value, list) or not value or not all(isinstance(one, dict) for one in value):
        raise query.wrong("'value' must be an array of objects, also for delete.")
    for selector in _SELECTORS.get(parts[2], _PLAIN):
        if any(not isinstance(one.get(selector, ""), str) for one in value):
            raise query.wrong(f"'{selector}' must be a string.")
    return _Patch(op, parts[2], value)


def _issue(code: str, message: str, attribute: str, category: str, codes: list[str]) -> dict[str, Any]:
    return {
        "code": code,
        "message": message,
        "severity": "ERROR",
        "attributeNames": [attribute],
        "categories": [category],
        "marketplaceIds": [MARKETPLACES[one].id for one in codes],
    }


def _type_issues(stated: str, own: str, codes: list[str]) -> list[dict[str, Any]]:
    if stated in ("PRODUCT", own):
        return []
    words = f"The product type '{stated}' is not that of the listing, '{own}'."
    return [_issue("90000900", words, "product_type", "INVALID_ATTRIBUTE", codes)]


def _issues(one: _Patch, account: Account, codes: list[str]) -> list[dict[str, Any]]:
    if one.attribute not in _KNOWN:
        words = f"The following attributes are invalid for the product type: {one.attribute}."
        return [_issue("90000900", words, one.attribute, "INVALID_ATTRIBUTE", codes)]
    if one.attribute == "fulfillment_availability":
        found = [fault for entry in one.entries for fault in _availability(entry, account, one.op)]
    elif one.attribute == "purchasable_offer":
        found = [fault for entry in one.entries for fault in _offer(entry, codes, one.op)]
    else:
        found = [fault for entry in one.entries for fault in _plain(entry, one.attribute, one.op)]
    return [_issue(code, words, one.attribute, category, codes) for code, words, category in found]


def _plain(entry: dict[str, Any], attribute: str, op: str) -> Iterator[offers.Fault]:
    if op != "delete" and "value" not in entry:
        yield "90220", f"'{attribute}' is required but not supplied.", "MISSING_ATTRIBUTE"


def _availability(entry: dict[str, Any], account: Account, op: str) -> Iterator[offers.Fault]:
    code = entry.get("fulfillment_channel_code")
    if strange := [name for name in entry if name not in _AVAILABILITY]:
        yield "90000900", f"The following attributes are invalid: {strange[0]}.", "INVALID_ATTRIBUTE"
    elif code is None:
        yield "90220", "'fulfillment_channel_code' is required but not supplied.", "MISSING_ATTRIBUTE"
    elif code not in ("DEFAULT", account.fba):
        yield "99022", f"'{code}' is not a fulfillment channel of this account.", "INVALID_ATTRIBUTE"
    elif op != "delete" and "quantity" in entry:
        quantity = entry["quantity"]
        if code != "DEFAULT":
            yield "99022", "A quantity cannot be supplied for stock that Amazon fulfills.", "INVALID_ATTRIBUTE"
        elif isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
            yield "99022", "'quantity' must be a whole number of 0 or more.", "INVALID_ATTRIBUTE"
    days = entry.get("lead_time_to_ship_max_days", 0)
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 30:
        yield "99022", "'lead_time_to_ship_max_days' must be a whole number of days.", "INVALID_ATTRIBUTE"
    if "restock_date" in entry and not _dated(entry["restock_date"]):
        yield "99022", "'restock_date' must be a date.", "INVALID_ATTRIBUTE"


def _dated(value: object) -> bool:
    try:
        return bool(date.fromisoformat(str(value)))
    except ValueError:
        return False


def _offer(entry: dict[str, Any], codes: list[str], op: str) -> Iterator[offers.Fault]:
    here = {MARKETPLACES[code].id: MARKETPLACES[code] for code in codes}
    place = here.get(entry.get("marketplace_id", next(iter(here))))
    if place is None:
        yield "99022", "'marketplace_id' is none of the request's 'marketplaceIds'.", "INVALID_ATTRIBUTE"
    elif op != "delete":
        yield from offers.faults(entry, place, whole=op != "merge")


def _all_applied(attributes: Attributes, patches: list[_Patch], ids: list[str]) -> Attributes:
    for one in patches:
        attributes = _applied(attributes, one, ids)
    return attributes


def _applied(attributes: Attributes, one: _Patch, ids: list[str]) -> Attributes:
    """`attributes` after one patch; what lies in other marketplaces than `ids` stays."""
    old = copy.deepcopy(attributes.get(one.attribute, []))
    new = copy.deepcopy(one.entries)
    selectors = _SELECTORS.get(one.attribute, _PLAIN)
    if one.attribute != "fulfillment_availability":
        for entry in new:
            entry.setdefault("marketplace_id", ids[0])
    else:
        # A channel's quantity is the account's, not a marketplace's.
        for entry in new:
            entry.pop("marketplace_id", None)
    if one.op in ("add", "replace"):
        kept = [entry for entry in old if entry.get("marketplace_id", ids[0]) not in ids]
        return {**attributes, one.attribute: kept + new}
    if one.op == "delete":
        gone = [{name: entry[name] for name in selectors if name in entry} for entry in new]
        kept = [e for e in old if not any(all(e.get(name) == g[name] for name in g) for g in gone)]
        return {**attributes, one.attribute: kept}
    by_key = {_key(entry, selectors): entry for entry in old}
    for entry in new:
        by_key.setdefault(_key(entry, selectors), {}).update(entry)
    return {**attributes, one.attribute: list(by_key.values())}


def _key(entry: dict[str, Any], selectors: tuple[str, ...]) -> tuple[object, ...]:
    return tuple(entry.get(name, "ALL" if name == "audience" else None) for name in selectors)


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    def answer(asked: Asked) -> dict[str, Any]:
        return patch(amazon, own(asked), asked.path["sku"], asked.query, asked.body)

    return [Operation("patchListingsItem", "PATCH", ITEM, answer, PARAMETERS, "BAD_REQUEST")]
