"""The `userErrors` of what we write, and what each code means for us: a table that the code goes by, tests walk, the docs print.

A code that is not in it was published after this was written: the write is refused in the platform's own words. Errors of some
mutations (fulfillments, refunds) have no code: where one matters, its message is known beside the code that sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.wire import Wire
from domain.errors import HouseError, Invalid, MissingRole, NotFound, OtherNumber, OutcomeUnknown, Refused, Transient


class Problem(Wire):
    """A user error. `field` names the entry it concerns: ["input", "quantities", "0", "inventoryItemId"]."""

    code: str | None = None
    field: list[str] | None
    message: str

    def entry(self, count: int) -> int | None:
        """The place in the list of `count` entries; None for an error that concerns all, or does not say which."""
        place = next((int(part) for part in self.field or () if part.isascii() and part.isdigit()), count)
        return place if place < count else None


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code ends with, and what is to be done, as people are told. `entry`: it concerns one entry of a list."""

    kind: type[HouseError]
    do: str
    entry: bool = True


_KEY = Meaning(Transient, "The same writes are sent again under a new key.", entry=False)
_READ_LISTINGS = "The shop's listings have to be read again."
_IN_ADMIN = "Mend the product in the shop's admin."
_NOT_OURS = "We send nothing of the kind; tell us."

STOCK: Mapping[str, Meaning] = {
    "CHANGE_FROM_QUANTITY_STALE": Meaning(OtherNumber, "The number is read again and reckoned anew."),
    "COMPARE_QUANTITY_STALE": Meaning(OtherNumber, "The number is read again and reckoned anew."),
    "COMPARE_QUANTITY_REQUIRED": Meaning(Invalid, _NOT_OURS, entry=False),
    "IDEMPOTENCY_CONCURRENT_REQUEST": Meaning(
        Transient, "An earlier attempt is still at work; the same is sent again under the same key.", entry=False
    ),
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH": _KEY,
    "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED": _KEY,
    "INVALID_INVENTORY_ITEM": Meaning(NotFound, _READ_LISTINGS),
    "INVALID_LOCATION": Meaning(NotFound, "Correct the place's name in this channel."),
    "INVALID_NAME": Meaning(Invalid, _NOT_OURS, entry=False),
    "INVALID_QUANTITY_NEGATIVE": Meaning(Invalid, "A shop takes no number below zero."),
    "INVALID_QUANTITY_TOO_HIGH": Meaning(Invalid, "A shop takes no number above a thousand million."),
    "INVALID_QUANTITY_TOO_LOW": Meaning(Invalid, "A shop takes no number below minus a thousand million."),
    "INVALID_REASON": Meaning(Invalid, _NOT_OURS, entry=False),
    "INVALID_REFERENCE_DOCUMENT": Meaning(Invalid, _NOT_OURS, entry=False),
    "ITEM_NOT_STOCKED_AT_LOCATION": Meaning(Transient, "It is put there first; the number follows."),
    "NON_MUTABLE_INVENTORY_ITEM": Meaning(Invalid, "It is a bundle: tell the numbers of what it is made of."),
    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR": Meaning(
        Invalid, "Two SKUs of ours are one inventory item: unmap one of them."
    ),
}

PRICES: Mapping[str, Meaning] = {
    "BLANK": Meaning(Invalid, "A price is needed."),
    "CANNOT_SET_NAME_FOR_LINKED_OPTION_VALUE": Meaning(Invalid, _NOT_OURS),
    "CANNOT_SPECIFY_BOTH": Meaning(Invalid, _NOT_OURS),
    "GREATER_THAN_OR_EQUAL_TO": Meaning(Invalid, "A shop takes no price below zero."),
    "INVALID_INPUT": Meaning(Invalid, "Correct the price."),
    "INVALID_VALUE": Meaning(Invalid, "Correct the price."),
    "INVENTORY_QUANTITIES_LIMIT_EXCEEDED": Meaning(Invalid, _NOT_OURS),
    "LOCAL_CURRENCY_GIFT_CARD_PRICE_MUST_BE_ZERO": Meaning(
        Invalid, "It is a gift card, whose price is not ours to set."
    ),
    "MUST_BE_FOR_THIS_PRODUCT": Meaning(NotFound, _READ_LISTINGS),
    "MUST_SPECIFY_ONE_OF_PAIR": Meaning(Invalid, _NOT_OURS),
    "NEED_TO_ADD_OPTION_VALUES": Meaning(Invalid, _IN_ADMIN),
    "NEGATIVE_PRICE_VALUE": Meaning(Invalid, "A shop takes no price below zero."),
    "NOT_DEFINED_FOR_SHOP": Meaning(Invalid, _IN_ADMIN),
    "NO_INVENTORY_QUANTITES_DURING_UPDATE": Meaning(Invalid, _NOT_OURS),
    "NO_INVENTORY_QUANTITIES_ON_VARIANTS_UPDATE": Meaning(Invalid, _NOT_OURS),
    "OPTION_DOES_NOT_EXIST": Meaning(Invalid, _IN_ADMIN),
    "OPTION_VALUES_FOR_NUMBER_OF_UNKNOWN_OPTIONS": Meaning(Invalid, _IN_ADMIN),
    "OPTION_VALUE_DOES_NOT_EXIST": Meaning(Invalid, _IN_ADMIN),
    "OPTION_VALUE_NAME_TOO_LONG": Meaning(Invalid, _IN_ADMIN),
    "PRODUCT_DOES_NOT_EXIST": Meaning(NotFound, _READ_LISTINGS, entry=False),
    "PRODUCT_SUSPENDED": Meaning(Invalid, "The platform has suspended the product.", entry=False),
    "PRODUCT_VARIANT_DOES_NOT_EXIST": Meaning(NotFound, _READ_LISTINGS),
    "PRODUCT_VARIANT_ID_MISSING": Meaning(Invalid, _NOT_OURS),
    "SUBSCRIPTION_VIOLATION": Meaning(
        Invalid, "A selling plan of the product forbids it; mend it in the shop's admin."
    ),
    "TOO_LONG": Meaning(Invalid, "Correct the price."),
    "TOO_SHORT": Meaning(Invalid, "Correct the price."),
    "UNSUPPORTED_COMBINED_LISTING_PARENT_OPERATION": Meaning(
        Invalid, "It is the parent of a combined listing and has no price of its own.", entry=False
    ),
    "VARIANT_ALREADY_EXISTS": Meaning(Invalid, _IN_ADMIN),
}

CANCELS: Mapping[str, Meaning] = {
    "INTERNAL_ERROR": Meaning(OutcomeUnknown, "The order is read before anything is sent again.", entry=False),
    "INVALID": Meaning(Refused, "The order stands otherwise than a cancellation needs.", entry=False),
    "NOT_FOUND": Meaning(NotFound, "The order is not there, or older than the app may see.", entry=False),
    "NO_REFUND_PERMISSION": Meaning(
        MissingRole, "The app's user may not refund; grant it, or cancel without a refund.", entry=False
    ),
    "NO_REFUND_TO_STORE_CREDIT_PERMISSION": Meaning(Invalid, _NOT_OURS, entry=False),
    "STORE_CREDIT_REFUND_B2B_NOT_SUPPORTED": Meaning(Invalid, _NOT_OURS, entry=False),
    "STORE_CREDIT_REFUND_EXPIRATION_IN_PAST": Meaning(Invalid, _NOT_OURS, entry=False),
    "STORE_CREDIT_REFUND_MISSING_CUSTOMER": Meaning(Invalid, _NOT_OURS, entry=False),
}

MEANINGS: Mapping[str, Mapping[str, Meaning]] = {
    "inventorySetQuantities": STOCK,
    "productVariantsBulkUpdate": PRICES,
    "orderCancel": CANCELS,
}
UNPUBLISHED = Meaning(Invalid, "The platform's words say what is wrong.")


def meaning(operation: str, code: str | None) -> Meaning:
    """What a code of a mutation means; `UNPUBLISHED` for one that is not in the table."""
    return MEANINGS[operation].get(code or "", UNPUBLISHED)


def raised(operation: str, problem: Problem, what: str, request_id: str | None) -> HouseError:
    """The error for `problem`. `what` is what was not taken, in words that go before the platform's."""
    found = meaning(operation, problem.code)
    text = f"{what}: {problem.message.rstrip('.')}. {found.do}"
    if issubclass(found.kind, OtherNumber):
        return OtherNumber(text, upstream_request_id=request_id)
    if issubclass(found.kind, Refused):
        field = tuple(problem.field or ()) or None
        return found.kind(text, field=field, upstream_request_id=request_id, upstream_code=problem.code)
    return found.kind(text, upstream_request_id=request_id, upstream_code=problem.code)


def table() -> str:
    """As a table of Markdown."""
    return "\n".join(("| mutation | code | ends with | what is done |", "| --- | --- | --- | --- |", *_rows(MEANINGS)))


def _rows(meanings: Mapping[str, Mapping[str, Meaning]]) -> Iterator[str]:
    for operation, codes in meanings.items():
        for code, found in codes.items():
            yield f"| {operation} | {code} | `{found.kind.__name__}` | {found.do} |"


def of_all(problems: Sequence[Problem], count: int) -> Problem | None:
    """The first that concerns no entry of a list of `count`, or does not say which."""
    return next((one for one in problems if one.entry(count) is None), None)
