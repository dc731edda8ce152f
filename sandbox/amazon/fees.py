"""Product Fees v0: getMyFeesEstimates, by the table in `rates` that orders are charged by."""

from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.amazon import rates
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import invalid
from sandbox.amazon.marketplaces import BY_ID, Marketplace
from sandbox.amazon.operation import Asked, Operation
from sandbox.amazon.state import Amazon, number
from sandbox.journal import iso
from sandbox.world import Product

MOST = 20
_PROGRAMS = ("FBA_CORE", "FBA_SNL", "FBA_EFN")


class Unanswerable(Exception):
    """A question that has no estimate; the text is the reason."""


def estimates(amazon: Amazon, account: Account, body: object) -> list[dict[str, Any]]:
    """A bare list, one entry per question: an estimate, or an error of its own. Raises 400 for what is no such list."""
    if not isinstance(body, list) or not 1 <= len(body) <= MOST:
        raise invalid(f"The body is a list of 1 to {MOST} requests.")
    return [_entry(amazon, account, one) for one in body]


def _entry(amazon: Amazon, account: Account, question: object) -> dict[str, Any]:
    if not isinstance(question, dict) or not isinstance(question.get("FeesEstimateRequest"), dict):
        raise invalid("'FeesEstimateRequest' is required.")
    asked = question["FeesEstimateRequest"]
    if question.get("IdType") not in ("ASIN", "SellerSKU") or not isinstance(question.get("IdValue"), str):
        raise invalid("'IdType' is ASIN or SellerSKU, and 'IdValue' is required.")
    if not isinstance(asked.get("Identifier"), str) or not isinstance(asked.get("PriceToEstimateFees"), dict):
        raise invalid("'Identifier' and 'PriceToEstimateFees' are required.")
    if asked.get("OptionalFulfillmentProgram", "FBA_CORE") not in _PROGRAMS:
        raise invalid(f"'OptionalFulfillmentProgram' takes {', '.join(_PROGRAMS)}.")
    place = BY_ID.get(str(asked.get("MarketplaceId")))
    if place is None or place.code not in account.marketplaces:
        raise invalid("", message="Incorrect Marketplace identifier.")
    entry = {
        "FeesEstimateIdentifier": {
            "MarketplaceId": place.id,
            "SellerId": account.seller,
            "IdType": question["IdType"],
            "IdValue": question["IdValue"],
            "IsAmazonFulfilled": asked.get("IsAmazonFulfilled") is True,
            "PriceToEstimateFees": asked["PriceToEstimateFees"],
            "SellerInputIdentifier": asked["Identifier"],
            **{name: asked[name] for name in ("OptionalFulfillmentProgram",) if name in asked},
        }
    }
    try:
        product, price = _product(amazon, question, place), _price(asked["PriceToEstimateFees"], place)
    except Unanswerable as why:
        error = {"Type": "Sender", "Code": "InvalidParameterValue", "Message": str(why), "Detail": []}
        return {"Status": "ClientError", **entry, "Error": error}
    fees = _fees(product, price, place, by_amazon=asked.get("IsAmazonFulfilled") is True)
    total = sum((amount for _, amount, _ in fees), Decimal(0))
    return {
        "Status": "Success",
        **entry,
        "FeesEstimate": {
            "TimeOfFeesEstimation": iso(amazon.clock.now()),
            "TotalFeesEstimate": _money(total, place),
            "FeeDetailList": [_detail(name, amount, parts, place) for name, amount, parts in fees],
        },
    }


def _product(amazon: Amazon, question: dict[str, Any], place: Marketplace) -> Product:
    value = question["IdValue"]
    index = amazon.world.by_asin(value) if question["IdType"] == "ASIN" else amazon.world.index(value)
    if index is None or place.code not in amazon.world.marketplaces_of(index):
        raise Unanswerable(f"There is an client-side error. {question['IdType']} {value} is not in {place.id}.")
    return amazon.world.product(index)


def _price(asked: dict[str, Any], place: Marketplace) -> Decimal:
    """What the buyer pays: the price and the shipping."""
    total = Decimal(0)
    for name in ("ListingPrice", "Shipping"):
        part = asked.get(name, {"CurrencyCode": place.currency, "Amount": 0} if name == "Shipping" else None)
        if not isinstance(part, dict) or part.get("CurrencyCode") != place.currency:
            raise Unanswerable(f"{name} must be in {place.currency}.")
        try:
            total += Decimal(str(part.get("Amount")))
        except InvalidOperation:
            raise Unanswerable(f"{name} has no amount.") from None
    if not total.is_finite() or total <= 0:
        raise Unanswerable("The price must be above 0.")
    return total


def _fees(
    product: Product, price: Decimal, place: Marketplace, *, by_amazon: bool
) -> list[tuple[str, Decimal, list[tuple[str, Decimal]]]]:
    """(name, amount, parts) of each fee. What Amazon sends costs the rate of its tier, of which the smallest tier's is for
    packing and the rest for weight."""
    fees: list[tuple[str, Decimal, list[tuple[str, Decimal]]]] = [
        ("ReferralFee", rates.referral(price, place.code), []),
        ("VariableClosingFee", Decimal(0), []),
        ("PerItemFee", Decimal(0), []),
    ]
    if by_amazon:
        whole, packing = rates.fba(product, place.code), rates.RATES[place.currency].fba["SMALL_STANDARD"]
        fees.append(("FBAFees", whole, [("FBAPickAndPack", packing), ("FBAWeightHandling", whole - packing)]))
    return fees


def _detail(name: str, amount: Decimal, parts: list[tuple[str, Decimal]], place: Marketplace) -> dict[str, Any]:
    shown: dict[str, Any] = {"FeeType": name}
    shown |= {"FeeAmount": _money(amount, place), "FeePromotion": _money(Decimal(0), place)}
    shown["FinalFee"] = _money(amount, place)
    if parts:
        shown["IncludedFeeDetailList"] = [_detail(part, of_it, [], place) for part, of_it in parts]
    return shown


def _money(amount: Decimal, place: Marketplace) -> dict[str, Any]:
    return {"CurrencyCode": place.currency, "Amount": number(amount, place.code)}


def operations(amazon: Amazon) -> list[Operation]:
    """What of this API is served."""

    def answer(asked: Asked) -> Any:
        return estimates(amazon, asked.account, asked.body)

    return [Operation("getMyFeesEstimates", "POST", "/products/fees/v0/feesEstimate", answer)]
