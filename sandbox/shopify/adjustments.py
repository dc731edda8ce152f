"""Stock writes: inventorySetQuantities (absolute), inventoryAdjustQuantities (relative) and inventoryActivate.

All want `@idempotent`, the first two also `changeFromQuantity`; one bad entry and nothing of the call is applied. Before API
version 2026-10 an item that was never stocked at a location has to be activated there first.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, GraphQLError
from graphql.execution.values import get_argument_values

from sandbox.shopify import errors, ids
from sandbox.shopify.call import Call, Info, Resolvers
from sandbox.shopify.catalog import variants
from sandbox.shopify.inventory import Item, Place
from sandbox.shopify.state import HELD, KEY_LIFE, Done, Level, Shop, warehouse
from sandbox.world import Warehouse

REASONS = frozenset(
    (
        "correction",
        "cycle_count_available",
        "damaged",
        "movement_canceled",
        "movement_created",
        "movement_received",
        "movement_updated",
        "other",
        "promotion",
        "quality_control",
        "received",
        "reservation_created",
        "reservation_deleted",
        "reservation_updated",
        "restock",
        "safety_stock",
        "shrinkage",
    )
)
ADJUSTABLE = ("available", "damaged", "incoming", "quality_control", "reserved", "safety_stock")
HIGHEST, MOST = 1_000_000_000, 2_000_000_000
STOCKS_ANYWHERE = "2026-10"
_URI = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+")
_MESSAGES = {
    "CHANGE_FROM_QUANTITY_STALE": "The changeFromQuantity argument no longer matches the persisted quantity.",
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH": (
        "The same idempotency key cannot be used with different operation parameters."
    ),
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED": (
        "A previous request with this idempotency key failed. Retry with a new idempotency key."
    ),
    "INTERNAL_LEDGER_DOCUMENT": "Internal (gid://shopify/) ledger documents are not allowed to be adjusted via API.",
    "INVALID_AVAILABLE_DOCUMENT": "A ledger document URI is not allowed when adjusting available.",
    "INVALID_INVENTORY_ITEM": "The specified inventory item could not be found.",
    "INVALID_LEDGER_DOCUMENT": "The specified ledger document is invalid.",
    "INVALID_LOCATION": "The specified location could not be found.",
    "INVALID_NAME": "The quantity name must be either 'available' or 'on_hand'.",
    "INVALID_QUANTITY_DOCUMENT": "A ledger document URI is required except when adjusting available.",
    "INVALID_QUANTITY_NAME": "The specified quantity name is invalid.",
    "INVALID_QUANTITY_NEGATIVE": "The quantity can't be negative.",
    "INVALID_REASON": "The specified reason is invalid.",
    "INVALID_REFERENCE_DOCUMENT": "The specified reference document is invalid.",
    "ITEM_NOT_STOCKED_AT_LOCATION": "The specified inventory item is not stocked at the location.",
    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR": (
        "The combination of inventoryItemId and locationId must be unique."
    ),
}

Problem = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One item in one warehouse, and by how much `name` moves there."""

    place: int
    item: int
    warehouse: Warehouse
    level: Level
    delta: int
    ledger: str | None = None


def _problem(code: str, *field: str) -> Problem:
    return errors.user_error(("input", *field), _MESSAGES[code], code)


def _out_of_range(side: str, limit: int, *field: str) -> Problem:
    subject, verb = ("The total quantity" if abs(limit) == HIGHEST else "The quantity"), f"{side.lower()}er"
    message = f"{subject} can't be {verb} than {limit:,}."
    return errors.user_error(("input", *field), message, f"INVALID_QUANTITY_TOO_{side}")


def once(mutation: Callable[[Call, Any], Mapping[str, Any]], nothing: Mapping[str, Any]) -> Callable[..., Any]:
    """The mutation under its idempotency key: done once, replayed on a repeat, refused with other parameters. `nothing` is its
    payload where nothing was done."""

    def resolve(_: Any, info: Info, **given: Any) -> Mapping[str, Any]:
        shop = info.context.shop
        key = idempotency_key(info)
        for name, entries, input_type in _COMPARED:
            if info.field_name == name and any("changeFromQuantity" not in entry for entry in given["input"][entries]):
                raise errors.missing_field(input_type, "changeFromQuantity")
        fingerprint = hashlib.sha256(
            json.dumps([info.field_name, given], sort_keys=True, default=str).encode()
        ).hexdigest()
        done = shop.done.get(key)
        if done is not None and shop.now() - done.at < KEY_LIFE:
            return _repeated(done, fingerprint, nothing)
        try:
            result = mutation(info.context, given)
        except GraphQLError:
            shop.done[key] = Done(fingerprint, shop.now(), None)
            raise
        shop.done[key] = Done(fingerprint, shop.now(), None if result["userErrors"] else result)
        return result

    return resolve


def _repeated(done: Done, fingerprint: str, nothing: Mapping[str, Any]) -> Mapping[str, Any]:
    if done.fingerprint != fingerprint:
        code = "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"
    elif done.result is None:
        code = "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"
    else:
        return done.result
    return {**nothing, "userErrors": [errors.user_error(None, _MESSAGES[code], code)]}


def idempotency_key(info: Info) -> str:
    """The key of `@idempotent` on this field. Raises BAD_REQUEST without the directive."""
    node: FieldNode = info.field_nodes[0]
    for directive in node.directives or ():
        if directive.name.value == "idempotent":
            definition = info.schema.get_directive("idempotent")
            assert definition is not None
            return str(get_argument_values(definition, directive, info.variable_values)["key"])
    raise errors.bad_request("The @idempotent directive is required for this mutation but was not provided.")


def _refused(problems: list[Problem]) -> Mapping[str, Any]:
    return {"inventoryAdjustmentGroup": None, "userErrors": problems}


def _set(call: Call, arguments: dict[str, Any]) -> Mapping[str, Any]:
    given = arguments["input"]
    name = given["name"]
    problems = _common_problems(given)
    if name not in ("available", "on_hand"):
        problems.append(_problem("INVALID_NAME", "name"))
        return _refused(problems)
    entries = []
    for entry in _entries(call, given["quantities"], "quantities", problems):
        wanted, field = given["quantities"][entry.place], ("quantities", str(entry.place))
        current: int = getattr(entry.level, name)
        asked, believed = wanted["quantity"], wanted["changeFromQuantity"]
        if name == "on_hand" and asked < 0:
            problems.append(_problem("INVALID_QUANTITY_NEGATIVE", *field, "quantity"))
        elif asked > HIGHEST:
            problems.append(_out_of_range("HIGH", HIGHEST, *field, "quantity"))
        elif asked < -HIGHEST:
            problems.append(_out_of_range("LOW", -HIGHEST, *field, "quantity"))
        elif believed is not None and believed != current:
            problems.append(_problem("CHANGE_FROM_QUANTITY_STALE", *field, "changeFromQuantity"))
        entries.append(Entry(entry.place, entry.item, entry.warehouse, entry.level, asked - current))
    if problems:
        return _refused(problems)
    return _applied(call.shop, "inventorySetQuantities", given, name, entries)


def _adjust(call: Call, arguments: dict[str, Any]) -> Mapping[str, Any]:
    given = arguments["input"]
    name = given["name"]
    problems = _common_problems(given)
    if name not in ADJUSTABLE:
        problems.append(_problem("INVALID_QUANTITY_NAME", "name"))
        return _refused(problems)
    entries = []
    for entry in _entries(call, given["changes"], "changes", problems):
        wanted, field = given["changes"][entry.place], ("changes", str(entry.place))
        believed, ledger = wanted["changeFromQuantity"], wanted.get("ledgerDocumentUri")
        wrong = _ledger_fault(name, ledger)
        if wrong:
            problems.append(_problem(wrong, *field, "ledgerDocumentUri"))
        elif abs(wanted["delta"]) > MOST:
            up = wanted["delta"] > 0
            problems.append(_out_of_range("HIGH" if up else "LOW", MOST if up else -MOST, *field, "delta"))
        elif believed is not None and believed != getattr(entry.level, name):
            problems.append(_problem("CHANGE_FROM_QUANTITY_STALE", *field, "changeFromQuantity"))
        entries.append(Entry(entry.place, entry.item, entry.warehouse, entry.level, wanted["delta"], ledger))
    if problems:
        return _refused(problems)
    return _applied(call.shop, "inventoryAdjustQuantities", given, name, entries)


def _activate(call: Call, given: dict[str, Any]) -> Mapping[str, Any]:
    """Stocks the item at the location: with no units, unless told otherwise. One that is stocked there already keeps its own."""
    shop, item = call.shop, ids.place("InventoryItem", given["inventoryItemId"])
    house = warehouse(ids.place("Location", given["locationId"]))
    problems = []
    if item not in variants(shop):
        problems.append(
            errors.user_error(["inventoryItemId"], "The product couldn't be stocked because it was deleted.")
        )
    if house is None:
        message = "The product couldn't be stocked because the location was deleted."
        problems.append(errors.user_error(["locationId"], message))
    if None not in (given.get("available"), given.get("onHand")):
        message = "Not allowed to set available and on_hand quantities at the same time."
        problems += [errors.user_error([name], message) for name in ("available", "onHand")]
    if problems or house is None:
        return {"inventoryLevel": None, "userErrors": problems}
    level = shop.level(item, house)
    if not shop.stocks(item, house):
        shop.unstocked.discard((item, house.number))
        held = level.on_hand - level.available
        wanted = given["onHand"] - held if given.get("onHand") is not None else given.get("available") or 0
        level = shop.change(item, house, available=wanted - level.available)
        detail = {"location": house.name, "available": wanted}
        shop.core.journal.effect("inventoryActivate", Item(shop, item).sku, detail)
    return {"inventoryLevel": level, "userErrors": []}


def _ledger_fault(name: str, ledger: str | None) -> str | None:
    if name == "available":
        return "INVALID_AVAILABLE_DOCUMENT" if ledger else None
    if not ledger:
        return "INVALID_QUANTITY_DOCUMENT"
    if ledger.startswith("gid://shopify/"):
        return "INTERNAL_LEDGER_DOCUMENT"
    return None if _URI.fullmatch(ledger) else "INVALID_LEDGER_DOCUMENT"


def _common_problems(given: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if given["reason"] not in REASONS:
        problems.append(_problem("INVALID_REASON", "reason"))
    document = given.get("referenceDocumentUri")
    if document is not None and not _URI.fullmatch(document):
        problems.append(_problem("INVALID_REFERENCE_DOCUMENT", "referenceDocumentUri"))
    return problems


def _entries(call: Call, given: list[dict[str, Any]], name: str, problems: list[Problem]) -> list[Entry]:
    """The entries that name an item and a location there are, each pair once; the others become problems."""
    shop = call.shop
    entries, seen = [], set()
    for place, each in enumerate(given):
        item = ids.place("InventoryItem", each["inventoryItemId"])
        house = warehouse(ids.place("Location", each["locationId"]))
        if item not in variants(shop):
            problems.append(_problem("INVALID_INVENTORY_ITEM", name, str(place), "inventoryItemId"))
        elif house is None:
            problems.append(_problem("INVALID_LOCATION", name, str(place), "locationId"))
        elif call.version < STOCKS_ANYWHERE and not shop.stocks(item, house):
            problems.append(_problem("ITEM_NOT_STOCKED_AT_LOCATION", name, str(place), "locationId"))
        elif (item, house.number) in seen:
            problems.append(_problem("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", name, str(place)))
        else:
            seen.add((item, house.number))
            entries.append(Entry(place, item, house, shop.level(item, house), 0))
    return entries


def _applied(
    shop: Shop, operation: str, given: Mapping[str, Any], name: str, entries: list[Entry]
) -> Mapping[str, Any]:
    """Carry out what truly changes something; a call that changes nothing has no group. Whoever is in the mood to, answers the
    same and carries out nothing."""
    for entry in entries:
        shop.unstocked.discard((entry.item, entry.warehouse.number))
    moved = [entry for entry in entries if entry.delta]
    if not moved:
        return _refused([])
    changes: list[dict[str, Any]] = []
    for entry in moved:
        before = getattr(entry.level, name)
        # Units on hand are a sum: setting it moves the available ones.
        state = "available" if name == "on_hand" else name
        rows = (state, "on_hand") if state == "available" or state in HELD else (state,)
        for row in rows:
            changes.append(
                {
                    "name": row,
                    "delta": entry.delta,
                    "quantityAfterChange": None,
                    "ledgerDocumentUri": entry.ledger if row == state else None,
                    "item": Item(shop, entry.item),
                    "location": Place(shop, entry.warehouse),
                }
            )
        if shop.moods.swallows(shop.core.world.product(entry.item).sku):
            continue
        level = shop.change(entry.item, entry.warehouse, **{state: entry.delta})
        shop.core.journal.effect(
            operation,
            Item(shop, entry.item).sku,
            {
                "inventoryItemId": ids.gid("InventoryItem", entry.item),
                "locationId": ids.gid("Location", entry.warehouse.number),
                "location": entry.warehouse.name,
                "name": name,
                "from": before,
                "to": getattr(level, name),
            },
        )
    shop.adjustments += 1
    return {
        "inventoryAdjustmentGroup": {
            "id": ids.gid("InventoryAdjustmentGroup", shop.adjustments),
            "createdAt": shop.now(),
            "reason": given["reason"],
            "referenceDocumentUri": given.get("referenceDocumentUri"),
            "changes": changes,
        },
        "userErrors": [],
    }


def _changes(group: Mapping[str, Any], info: Info, **args: Any) -> list[dict[str, Any]]:
    wanted = {
        "quantityNames": lambda change: change["name"],
        "inventoryItemIds": lambda change: change["item"].id,
        "locationIds": lambda change: change["location"].id,
    }
    chosen = {name: set(values) for name, values in args.items() if values is not None}
    return [
        change for change in group["changes"] if all(wanted[name](change) in values for name, values in chosen.items())
    ]


_COMPARED = (
    # mutation, its list of entries, and their type
    ("inventoryAdjustQuantities", "changes", "InventoryChangeInput"),
    ("inventorySetQuantities", "quantities", "InventoryQuantityInput"),
)
_NO_GROUP = {"inventoryAdjustmentGroup": None}

RESOLVERS: Resolvers = {
    "Mutation": {
        "inventoryActivate": once(_activate, {"inventoryLevel": None}),
        "inventoryAdjustQuantities": once(_adjust, _NO_GROUP),
        "inventorySetQuantities": once(_set, _NO_GROUP),
    },
    "InventoryAdjustmentGroup": {"changes": _changes},
}
