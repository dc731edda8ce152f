"""Catalog Items 2022-04-01: searchCatalogItems and getCatalogItem. What is sold in this world, and what it is a variant of."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from sandbox.amazon import rates
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import not_found
from sandbox.amazon.listings import marketplaces, product_type
from sandbox.amazon.marketplaces import MARKETPLACES, Marketplace
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.query import Query, seal, unseal
from sandbox.amazon.state import LANGUAGES, Amazon
from sandbox.world import Product, World

INCLUDED = (
    "attributes",
    "classifications",
    "dimensions",
    "identifiers",
    "images",
    "productTypes",
    "relationships",
    "salesRanks",
    "summaries",
    "vendorDetails",
)
GET_PARAMETERS = ("marketplaceIds", "includedData", "locale")
SEARCH_PARAMETERS = (
    *GET_PARAMETERS,
    "identifiers",
    "identifiersType",
    "sellerId",
    "keywords",
    "brandNames",
    "classificationIds",
    "pageSize",
    "pageToken",
    "keywordsLocale",
)
PAGEABLE = 1_000
"""A search by words looks no further."""

_TYPES = ("ASIN", "EAN", "GTIN", "ISBN", "JAN", "MINSAN", "SKU", "UPC")
_DEPARTMENT = ("fashion_display_on_website", "Fashion", "7141123011")
_CATEGORIES = {
    # family: (classification id, name)
    "TEE": ("1045624", "T-Shirts"),
    "HOOD": ("1258644011", "Hoodies"),
    "PANT": ("1048184", "Trousers"),
    "SOCK": ("1045708", "Socks"),
    "CAP": ("1045706", "Caps"),
    "SCARF": ("1045704", "Scarves"),
    "GLOVE": ("1045702", "Gloves"),
    "BELT": ("1045700", "Belts"),
    "BAG": ("15743631", "Bags"),
    "MUG": ("367155011", "Mugs"),
}
_CENTIMETERS = Decimal("2.54")
_GRAMS = Decimal("453.59237")


@dataclass(frozen=True, slots=True)
class Thing:
    """One ASIN: a product, or the parent of a style's variants, of which `product` is the first."""

    product: Product
    parent: bool = False


def get(amazon: Amazon, account: Account, asin: str, query: Query) -> dict[str, Any]:
    """One ASIN in the asked marketplaces; 404 where it is in none of them."""
    codes = marketplaces(query, account)
    included = query.csv("includedData", among=INCLUDED) or ["summaries"]
    thing = by_asin(amazon.world, asin)
    here = [code for code in codes if thing and _sold(amazon.world, thing, code)]
    if thing is None or not here:
        raise not_found(f"Requested item '{asin}' not found in marketplace {MARKETPLACES[codes[0]].id}.")
    return _item(amazon, thing, here, included, _locale(query))


def search(amazon: Amazon, account: Account, query: Query) -> dict[str, Any]:
    """One page, by identifiers or by words. Raises 400 for both and for neither."""
    codes = marketplaces(query, account)
    if len(codes) > 1:
        raise query.wrong("'marketplaceIds' may hold 1 item at most.")
    included = query.csv("includedData", among=INCLUDED) or ["summaries"]
    size = query.count("pageSize", 1, 20, 10)
    identifiers, keywords = query.csv("identifiers", most=20), query.csv("keywords", most=20)
    if bool(identifiers) == bool(keywords):
        raise query.wrong("Give either 'identifiers' or 'keywords'.")
    if keywords:
        found = list(islice(_about(amazon, codes[0], keywords, query), PAGEABLE))
    else:
        found = _named(amazon, account, codes[0], identifiers, query)
    bound = query.digest(without=["pageToken", "includedData"])
    position = _position(query, account, bound)
    answer: dict[str, Any] = {"numberOfResults": len(found)}
    if pages := _pages(account, bound, position, size, len(found)):
        answer["pagination"] = pages
    if keywords:
        answer["refinements"] = _refinements(found)
    locale = _locale(query)
    answer["items"] = [_item(amazon, one, codes, included, locale) for one in found[position : position + size]]
    return answer


def by_asin(world: World, asin: str) -> Thing | None:
    """What carries an ASIN."""
    index = world.by_asin(asin)
    if index is not None:
        return Thing(world.product(index))
    style = world.by_parent_asin(asin)
    return None if style is None else Thing(world.style(style)[0], parent=True)


def ranks(amazon: Amazon, product: Product, code: str) -> tuple[int, int]:
    """(rank in the category, rank in the department) of this day."""
    day = int(amazon.clock.seconds() // 86_400)
    usual = amazon.world.random("rank", code, product.index).randint(40, 4_000)
    moved = usual + amazon.world.random("rank", code, product.index, day).randint(-30, 30)
    return moved, moved * 23 + product.index % 23


def category(product: Product) -> tuple[str, str]:
    """(classification id, name)."""
    return _CATEGORIES[product.family]


def _sold(world: World, thing: Thing, code: str) -> bool:
    if thing.parent:
        return any(code in one.marketplaces for one in world.style(thing.product.style))
    return code in thing.product.marketplaces


def _named(amazon: Amazon, account: Account, code: str, identifiers: list[str], query: Query) -> list[Thing]:
    kind = query.one_of("identifiersType", _TYPES)
    if kind is None:
        raise query.wrong("'identifiersType' is required with 'identifiers'.")
    if kind == "SKU" and query.text("sellerId") != account.seller:
        raise query.wrong("'sellerId' is required with identifiers of type SKU, and must be the seller's own.")
    found = (_by(amazon.world, kind, one) for one in dict.fromkeys(identifiers))
    return [one for one in found if one is not None and _sold(amazon.world, one, code)]


def _by(world: World, kind: str, identifier: str) -> Thing | None:
    match kind:
        case "ASIN":
            return by_asin(world, identifier)
        case "SKU":
            index = world.index(identifier)
        case "EAN" | "GTIN":
            index = world.by_ean(identifier.removeprefix("0") if kind == "GTIN" else identifier)
        case _:
            index = None
    return None if index is None else Thing(world.product(index))


def _about(amazon: Amazon, code: str, keywords: list[str], query: Query) -> Iterator[Thing]:
    """Products whose title in the marketplace's language holds all the words."""
    words = [word for one in keywords for word in one.casefold().split()]
    brands, categories = query.csv("brandNames"), query.csv("classificationIds")
    for index in range(amazon.world.size):
        if code not in amazon.world.marketplaces_of(index):
            continue
        product = amazon.world.product(index)
        title = product.titles[LANGUAGES[code]].casefold()
        if (
            all(word in title for word in words)
            and (not brands or product.brand in brands)
            and (not categories or category(product)[0] in categories)
        ):
            yield Thing(product)


def _refinements(found: list[Thing]) -> dict[str, Any]:
    brands = Counter(one.product.brand for one in found)
    categories = Counter(category(one.product) for one in found)
    return {
        "brands": [{"numberOfResults": count, "brandName": name} for name, count in brands.most_common()],
        "classifications": [
            {"numberOfResults": count, "displayName": name, "classificationId": id}
            for (id, name), count in categories.most_common()
        ],
    }


def _position(query: Query, account: Account, bound: str) -> int:
    token = query.text("pageToken")
    if token is None:
        return 0
    contents = unseal(token)
    if contents is None or contents.get("to") != "catalog" or contents["of"] != account.seller:
        raise query.wrong("'pageToken' is invalid.")
    if contents["for"] != bound:
        raise query.wrong("'pageToken' belongs to a request with other parameters.")
    return int(contents["at"])


def _pages(account: Account, bound: str, position: int, size: int, count: int) -> dict[str, str]:
    def token(at: int) -> str:
        return seal({"to": "catalog", "at": at, "of": account.seller, "for": bound})

    pages = {"nextToken": token(position + size)} if position + size < count else {}
    return pages | ({"previousToken": token(max(0, position - size))} if position else {})


def _locale(query: Query) -> str | None:
    """The language asked for; each marketplace's own without one."""
    locale = query.text("locale")
    if locale is None:
        return None
    language = locale.partition("_")[0]
    if language not in LANGUAGES.values():
        raise query.wrong(f"'{locale}' is not a locale of these marketplaces.")
    return language


def _item(amazon: Amazon, thing: Thing, codes: list[str], included: list[str], language: str | None) -> dict[str, Any]:
    places = [MARKETPLACES[code] for code in codes]
    product = thing.product
    parts: dict[str, Any] = {
        "attributes": lambda: _attributes(thing, places, language),
        "classifications": lambda: [
            {"marketplaceId": place.id, "classifications": [_classification(product, parents=True)]} for place in places
        ],
        "dimensions": lambda: [] if thing.parent else [_dimensions(product, place) for place in places],
        "identifiers": lambda: [
            {"marketplaceId": place.id, "identifiers": [] if thing.parent else _identifiers(product)}
            for place in places
        ],
        "images": lambda: [{"marketplaceId": place.id, "images": _images(product)} for place in places],
        "productTypes": lambda: [{"marketplaceId": place.id, "productType": product_type(product)} for place in places],
        "relationships": lambda: [
            {"marketplaceId": place.id, "relationships": [_relationship(amazon.world, thing, place)]}
            for place in places
        ],
        "salesRanks": lambda: [] if thing.parent else [_ranks(amazon, product, place) for place in places],
        "summaries": lambda: [_summary(thing, place, language) for place in places],
        "vendorDetails": list,
    }
    asin = amazon.world.parent_asin(product.style) if thing.parent else product.asin
    return {"asin": asin, **{name: parts[name]() for name in INCLUDED if name in included}}


def _title(thing: Thing, place: Marketplace, language: str | None) -> str:
    """A parent is called after what its variants have in common."""
    title = thing.product.titles[language or LANGUAGES[place.code]]
    return title.partition(",")[0] if thing.parent else title


def _summary(thing: Thing, place: Marketplace, language: str | None) -> dict[str, Any]:
    product = thing.product
    own = {} if thing.parent else {"color": product.color, "size": product.size, "packageQuantity": 1}
    return {
        "marketplaceId": place.id,
        "adultProduct": False,
        "autographed": False,
        "brand": product.brand,
        "browseClassification": _classification(product, parents=False),
        "itemClassification": "VARIATION_PARENT" if thing.parent else "BASE_PRODUCT",
        "itemName": _title(thing, place, language),
        "manufacturer": product.brand,
        "memorabilia": False,
        "modelNumber": product.style_title,
        "tradeInEligible": False,
        "websiteDisplayGroup": _DEPARTMENT[0],
        "websiteDisplayGroupName": _DEPARTMENT[1],
        **own,
    }


def _attributes(thing: Thing, places: list[Marketplace], language: str | None) -> dict[str, Any]:
    def local(value: str, place: Marketplace) -> dict[str, str]:
        return {"value": value, "language_tag": place.language, "marketplace_id": place.id}

    product = thing.product
    attributes = {
        "item_name": [local(_title(thing, place, language), place) for place in places],
        "brand": [local(product.brand, place) for place in places],
    }
    if not thing.parent:
        attributes["color"] = [local(product.color, place) for place in places]
        attributes["size"] = [local(product.size, place) for place in places]
    return attributes


def _classification(product: Product, *, parents: bool) -> dict[str, Any]:
    id, name = category(product)
    shown: dict[str, Any] = {"displayName": name, "classificationId": id}
    if parents:
        shown["parent"] = {"displayName": _DEPARTMENT[1], "classificationId": _DEPARTMENT[2]}
    return shown


def _identifiers(product: Product) -> list[dict[str, str]]:
    return [
        {"identifier": product.ean, "identifierType": "EAN"},
        {"identifier": f"0{product.ean}", "identifierType": "GTIN"},
    ]


def _images(product: Product) -> list[dict[str, Any]]:
    link = f"https://images.example/I/{product.asin}"
    return [
        {"variant": variant, "link": f"{link}.{variant}.{side}.jpg", "height": side, "width": side}
        for variant in ("MAIN", "PT01")
        for side in (1500, 500)
    ]


def _relationship(world: World, thing: Thing, place: Marketplace) -> dict[str, Any]:
    theme = {"attributes": ["color", "size"], "theme": "SIZE_NAME/COLOR_NAME"}
    if not thing.parent:
        parent = world.parent_asin(thing.product.style)
        return {"type": "VARIATION", "parentAsins": [parent], "variationTheme": theme}
    variants = [one.asin for one in world.style(thing.product.style) if place.code in one.marketplaces]
    return {"type": "VARIATION", "childAsins": variants, "variationTheme": theme}


def _dimensions(product: Product, place: Marketplace) -> dict[str, Any]:
    """Inches and pounds in the US, else centimeters and kilograms; a packed unit is a centimeter larger and 50 g heavier."""
    packed = rates.measures(product)

    def length(centimeters: Decimal) -> dict[str, Any]:
        if place.code == "US":
            return {"unit": "inches", "value": float(round(centimeters / _CENTIMETERS, 2))}
        return {"unit": "centimeters", "value": float(centimeters)}

    def weight(grams: int) -> dict[str, Any]:
        if place.code == "US":
            return {"unit": "pounds", "value": float(round(grams / _GRAMS, 2))}
        return {"unit": "kilograms", "value": float(Decimal(grams) / 1000)}

    def measures(less: Decimal, lighter: int) -> dict[str, Any]:
        return {
            "height": length(packed.height - less),
            "length": length(packed.length - less),
            "weight": weight(packed.weight - lighter),
            "width": length(packed.width - less),
        }

    return {"marketplaceId": place.id, "item": measures(Decimal(1), 50), "package": measures(Decimal(0), 0)}


def _ranks(amazon: Amazon, product: Product, place: Marketplace) -> dict[str, Any]:
    in_category, in_department = ranks(amazon, product, place.code)
    id, name = category(product)
    link = f"https://{place.domain}/gp/bestsellers/fashion"
    return {
        "marketplaceId": place.id,
        "classificationRanks": [{"classificationId": id, "title": name, "link": f"{link}/{id}", "rank": in_category}],
        "displayGroupRanks": [
            {"websiteDisplayGroup": _DEPARTMENT[0], "title": _DEPARTMENT[1], "link": link, "rank": in_department}
        ],
    }


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""
    path = "/catalog/2022-04-01/items"

    def found(asked: Asked) -> dict[str, Any]:
        return search(amazon, asked.account, asked.query)

    def one(asked: Asked) -> dict[str, Any]:
        return get(amazon, asked.account, asked.path["asin"], asked.query)

    return [
        Operation("searchCatalogItems", "GET", path, found, SEARCH_PARAMETERS),
        Operation("getCatalogItem", "GET", path + "/{asin}", one, GET_PARAMETERS),
    ]
