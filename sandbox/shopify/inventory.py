"""Inventory items, levels and locations, as the API shows them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from sandbox.shopify import errors, ids, paging
from sandbox.shopify.call import Info, Resolvers, searched
from sandbox.shopify.catalog import Variant, Ware, by_sku, variants
from sandbox.shopify.money import SHOP_CURRENCY, MoneyV2, money
from sandbox.shopify.paging import Connection
from sandbox.shopify.search import Field, Fields
from sandbox.shopify.state import Level, Shop, warehouse
from sandbox.world import WAREHOUSES, Warehouse

NAMES = (
    "available",
    "committed",
    "damaged",
    "incoming",
    "on_hand",
    "quality_control",
    "reserved",
    "safety_stock",
)


class Item(Ware):
    typename: ClassVar[str] = "InventoryItem"
    __slots__ = ()

    @property
    def tracked(self) -> bool:
        return True

    @property
    def requires_shipping(self) -> bool:
        return True

    @property
    def duplicate_sku_count(self) -> int:
        return 0

    @property
    def unit_cost(self) -> MoneyV2:
        return money(self.world.unit_cost, SHOP_CURRENCY)

    @property
    def created_at(self) -> datetime:
        return self._shop.created_at(self.place)

    @property
    def updated_at(self) -> datetime:
        # A movement of stock changes the level and the variant, not the item.
        return self._shop.base_at(self.place)

    @property
    def locations_count(self) -> dict[str, Any]:
        count = sum(self._shop.stocks(self.place, house) for house in WAREHOUSES)
        return {"count": count, "precision": "EXACT"}

    @property
    def variant(self) -> Variant:
        return Variant(self._shop, self.place)


class Place:
    """A location, which is one of the own warehouses."""

    typename: ClassVar[str] = "Location"
    __slots__ = ("_shop", "warehouse")

    def __init__(self, shop: Shop, warehouse: Warehouse) -> None:
        self._shop = shop
        self.warehouse = warehouse

    @property
    def id(self) -> str:
        return ids.gid("Location", self.warehouse.number)

    @property
    def legacy_resource_id(self) -> str:
        return str(ids.number("Location", self.warehouse.number))

    @property
    def name(self) -> str:
        return self.warehouse.name

    @property
    def address(self) -> dict[str, Any]:
        house = self.warehouse
        country = {"DE": "Germany", "US": "United States"}[house.country]
        return {
            "address1": house.street,
            "city": house.city,
            "country": country,
            "countryCode": house.country,
            "zip": house.zip,
            "formatted": [house.street, f"{house.zip} {house.city}", country],
        }

    @property
    def created_at(self) -> datetime:
        return self._shop.created_at(0)

    @property
    def updated_at(self) -> datetime:
        return self._shop.created_at(0)

    @property
    def has_unfulfilled_orders(self) -> bool:
        return any(
            order.open and work.warehouse is self.warehouse for order in self._shop.orders for work in order.works
        )

    @property
    def is_active(self) -> bool:
        return self.warehouse.number not in self._shop.closed

    @property
    def deactivated_at(self) -> str | None:
        return None if self.is_active else "2026-01-01T00:00:00Z"

    fulfills_online_orders = is_active
    ships_inventory = is_active
    has_active_inventory = is_active
    activatable = property(lambda self: not self.is_active)
    deactivatable = property(lambda self: False)
    deletable = property(lambda self: False)
    is_fulfillment_service = property(lambda self: False)


def item_fields(shop: Shop) -> Fields:
    """The four fields `inventoryItems` can be searched by; rows are the places of items."""

    def by_id(text: str) -> Iterable[int]:
        tail = text.rpartition("/")[2]
        return (int(tail) - ids.BASES["InventoryItem"],) if tail.isdigit() else ()

    return {
        "default": Field("words", lambda p: shop.core.world.product(p).sku),
        "created_at": Field("time", shop.created_at),
        "id": Field("id", lambda p: ids.number("InventoryItem", p), by_id),
        "sku": Field("string", lambda p: shop.core.world.product(p).sku, by_sku(shop)),
        "updated_at": Field("time", shop.base_at),
    }


def item_by_id(shop: Shop, given: str) -> Item | None:
    place = ids.place("InventoryItem", given)
    return Item(shop, place) if place in variants(shop) else None


def level_by_id(shop: Shop, given: str) -> Level | None:
    item, number = ids.level_place(given)
    house = warehouse(number)
    return _level_at(shop, item, house) if item in variants(shop) else None


def _level_at(shop: Shop, item: int, house: Warehouse | None) -> Level | None:
    return shop.level(item, house) if house is not None and shop.stocks(item, house) else None


def location_by_id(shop: Shop, given: str) -> Place | None:
    house = warehouse(ids.place("Location", given))
    return None if house is None else Place(shop, house)


def _inventory_items(_: Any, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    recent: tuple[datetime, Sequence[int]] = (shop.newest_base, ())
    return searched(info, args, item_fields(shop), variants(shop), lambda p: Item(shop, p), {}, recent)


def _locations(_: Any, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    by_number = {house.number: house for house in WAREHOUSES}
    fields: Fields = {
        "default": Field("words", lambda n: by_number[n].name),
        "id": Field("id", lambda n: ids.number("Location", n)),
        "name": Field("string", lambda n: by_number[n].name),
        "active": Field("string", lambda n: str(n not in shop.closed).lower()),
    }
    sorts = {"NAME": lambda n: by_number[n].name}
    numbers = sorted(by_number) if args.get("includeInactive") else sorted(by_number.keys() - shop.closed)
    return searched(info, args, fields, numbers, lambda n: Place(shop, by_number[n]), sorts)


def _location(_: Any, info: Info, id: str | None = None) -> Place | None:
    """Without an id, the primary location."""
    return Place(info.context.shop, WAREHOUSES[0]) if id is None else location_by_id(info.context.shop, id)


def _levels(item: Item, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    stocked = [n for n, house in enumerate(WAREHOUSES) if shop.stocks(item.place, house)]
    return paging.page(stocked, args, lambda n: shop.level(item.place, WAREHOUSES[n]))


def _levels_of_place(place: Place, info: Info, **args: Any) -> Connection:
    shop = info.context.shop
    fields = {name: field for name, field in item_fields(shop).items() if name != "sku"}
    items: Sequence[int] = variants(shop)
    if shop.unstocked:
        items = [item for item in items if shop.stocks(item, place.warehouse)]
    return searched(info, args, fields, items, lambda p: shop.level(p, place.warehouse), {})


def _level(item: Item, info: Info, **args: Any) -> Level | None:
    return _level_at(info.context.shop, item.place, warehouse(ids.place("Location", args["locationId"])))


def _level_of_place(place: Place, info: Info, **args: Any) -> Level | None:
    shop = info.context.shop
    item = ids.place("InventoryItem", args["inventoryItemId"])
    return _level_at(shop, item, place.warehouse) if item in variants(shop) else None


def _quantities(level: Level, info: Info, names: list[str]) -> list[dict[str, Any]]:
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise errors.bad_request(f"The quantity name '{unknown[0]}' is invalid.")
    level = info.context.shop.shown(level)
    number, _, item = level.id.rpartition("/")[2].partition("?")
    return [
        {
            "id": f"gid://shopify/InventoryQuantity/{number}?{item}&name={name}",
            "name": name,
            "quantity": getattr(level, name),
            # The sum of the others keeps no time of its own.
            "updatedAt": None if name == "on_hand" else level.updated_at,
        }
        for name in names
    ]


def _variants_of_item(item: Item, info: Info, **args: Any) -> Connection:
    return paging.listed([item.variant], args)


RESOLVERS: Resolvers = {
    "QueryRoot": {
        "inventoryItem": lambda _, info, id: item_by_id(info.context.shop, id),
        "inventoryItems": _inventory_items,
        "inventoryLevel": lambda _, info, id: level_by_id(info.context.shop, id),
        "location": _location,
        "locations": _locations,
    },
    "InventoryItem": {"inventoryLevel": _level, "inventoryLevels": _levels, "variants": _variants_of_item},
    "InventoryLevel": {
        "canDeactivate": lambda level, info: level.committed == 0 and level.available == 0,
        "createdAt": lambda level, info: info.context.shop.created_at(level.item),
        "deactivationAlert": lambda level, info: None,
        "isActive": lambda level, info: True,
        "item": lambda level, info: Item(info.context.shop, level.item),
        "location": lambda level, info: Place(info.context.shop, level.warehouse),
        "quantities": _quantities,
    },
    "Location": {"inventoryLevel": _level_of_place, "inventoryLevels": _levels_of_place},
    "ProductVariant": {"inventoryItem": lambda variant, info: Item(info.context.shop, variant.place)},
}
