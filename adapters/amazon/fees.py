"""What Amazon would take of a sale. Source: Product Fees v0, getMyFeesEstimates; at most 20 in one call, each with a status and
an error of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, model_validator

from adapters.amazon.client import Client
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.amazon.numbers import Cash, Pascal, PointsGiven, sent
from adapters.amazon.wire import Instant, rejected
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import HouseError, Invalid, Transient
from domain.fee import Fee, FeeKind, FeesEstimate
from domain.ids import ChannelId
from domain.money import Money
from domain.offer import OfferPrice
from domain.product import FulfilledBy, Rejected

OPERATION = "getMyFeesEstimates"
PATH = "/products/fees/v0/feesEstimate"
BATCH = 20

KINDS = {
    "ReferralFee": FeeKind.REFERRAL,
    "VariableClosingFee": FeeKind.CLOSING,
    "FixedClosingFee": FeeKind.CLOSING,
    "PerItemFee": FeeKind.PER_ITEM,
    "HighVolumeListingFee": FeeKind.LISTING,
    "DigitalServicesFee": FeeKind.DIGITAL_SERVICES,
    "FBAFees": FeeKind.FULFILLMENT,
    "FBAPickAndPack": FeeKind.FULFILLMENT,
    "FBAWeightHandling": FeeKind.FULFILLMENT,
    "FBAOrderHandling": FeeKind.FULFILLMENT,
    "FBADeliveryServicesFee": FeeKind.FULFILLMENT,
}


@dataclass(frozen=True, slots=True)
class Question:
    """The fees of one unit of `item`, a SKU of ours or an ASIN, when it is sold for `price` and sent by us or by Amazon."""

    item: str
    price: OfferPrice
    fulfilled_by: FulfilledBy
    is_asin: bool = False
    program: str | None = None


def _instant(value: object) -> object:
    # The model says ISO 8601; Amazon's own example says "Mon Oct 28 18:49:32 UTC 2019".
    if isinstance(value, str) and " UTC " in value:
        return datetime.strptime(value, "%a %b %d %H:%M:%S UTC %Y").replace(tzinfo=UTC)
    return value


class PriceAsked(Pascal):
    """The price that was estimated for."""

    listing_price: Cash
    shipping: Cash | None = None
    points: PointsGiven | None = None


class Asked(Pascal):
    """The question, as Amazon understood it."""

    marketplace_id: str
    id_type: str
    id_value: str
    seller_input_identifier: str
    price_to_estimate_fees: PriceAsked
    seller_id: str | None = None
    is_amazon_fulfilled: bool | None = None
    optional_fulfillment_program: str | None = None


class Detail(Pascal):
    """One fee, and what it includes."""

    fee_type: str
    fee_amount: Cash
    final_fee: Cash
    fee_promotion: Cash | None = None
    tax_amount: Cash | None = None
    included_fee_detail_list: tuple[Detail, ...] = ()

    def fee(self) -> Fee:
        """As a value of ours."""
        return Fee(
            KINDS.get(self.fee_type, FeeKind.UNCLASSIFIED),
            self.fee_type,
            self.fee_amount,
            self.final_fee,
            self.fee_promotion,
            self.tax_amount,
            tuple(one.fee() for one in self.included_fee_detail_list),
        )


class Estimate(Pascal):
    """What was estimated."""

    time_of_fees_estimation: Annotated[Instant, BeforeValidator(_instant)]
    total_fees_estimate: Cash
    fee_detail_list: tuple[Detail, ...] = ()


class Complaint(Pascal):
    """Why nothing was estimated; all empty beside an estimate."""

    type: str = ""
    code: str = ""
    message: str = ""


class Which(Pascal):
    """As much of an entry as it takes to know which question it answers."""

    seller_input_identifier: str


class Labeled(Pascal):
    """See `Which`."""

    fees_estimate_identifier: Which


class Entry(Pascal):
    """The answer to one question."""

    status: str
    fees_estimate_identifier: Asked
    fees_estimate: Estimate | None = None
    error: Complaint = Complaint()


class Answer(Wire):
    """Amazon's answer is a bare list."""

    entries: list[object]

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, raw: object) -> object:
        return {"entries": raw}


async def estimates(
    client: Client, code: str, questions: Sequence[Question], ask: Ask
) -> list[FeesEstimate | HouseError | Rejected]:
    """One answer per question, in the order asked, at most 20: a question that fails fails alone. Rejected is what Amazon told
    and we do not understand. Raises Invalid before anything is sent."""
    if len(questions) > BATCH:
        raise Invalid(f"{OPERATION} takes {BATCH} questions at most; {len(questions)} were given.")
    if not questions:
        return []
    store = marketplace(code).id
    body = [_entry(store, str(number), one) for number, one in enumerate(questions)]
    answer, request_id = await client.read(OPERATION, PATH, body, ask, Answer)
    told = {}
    for raw in answer.entries:
        try:
            told[read(Labeled, raw).fees_estimate_identifier.seller_input_identifier] = raw
        except Unclear:
            continue  # Its question stays without an answer, and says so.
    found: list[FeesEstimate | HouseError | Rejected] = []
    for number, one in enumerate(questions):
        if str(number) not in told:
            found.append(Transient(f"{OPERATION} gave no answer for {one.item}.", upstream_request_id=request_id))
            continue
        answered = estimate_of(client.channel, told[str(number)], request_id)
        found.append(replace(answered, key=one.item) if isinstance(answered, Rejected) else answered)
    return found


def estimate_of(channel: ChannelId, raw: object, request_id: str | None) -> FeesEstimate | HouseError | Rejected:
    """One entry of an answer."""
    try:
        return _estimate(read(Entry, raw), request_id)
    except Unclear as problem:
        return rejected(channel, "fees", "FeesEstimateIdentifier", raw, problem)


def _estimate(entry: Entry, request_id: str | None) -> FeesEstimate | HouseError:
    asked, said = entry.fees_estimate_identifier, entry.error
    if entry.status == "ServiceError":
        words = f"{OPERATION} of {asked.id_value}: {said.message}"
        return Transient(words, upstream_request_id=request_id, upstream_code=said.code or None)
    if entry.status == "ClientError":
        words = f"Amazon refuses {OPERATION} of {asked.id_value}: {said.message}"
        return Invalid(words, upstream_request_id=request_id, upstream_code=said.code or None)
    if entry.status != "Success" or entry.fees_estimate is None:
        raise Unclear(f"Status: {entry.status!r} {'with' if entry.fees_estimate else 'without'} an estimate")
    price, found = asked.price_to_estimate_fees, entry.fees_estimate
    fees = tuple(one.fee() for one in found.fee_detail_list)
    total = found.total_fees_estimate
    if strange := [
        one for fee in fees for one in fee.walk() if {one.amount.currency, one.final.currency} != {total.currency}
    ]:
        raise Unclear(f"the total is in {total.currency}, its fee {strange[0].name} is not")
    sent_by = {True: FulfilledBy.CHANNEL, False: FulfilledBy.MERCHANT, None: None}
    return FeesEstimate(
        item=asked.id_value,
        is_asin=asked.id_type == "ASIN",
        marketplace=BY_ID.get(asked.marketplace_id, asked.marketplace_id),
        fulfilled_by=sent_by[asked.is_amazon_fulfilled],
        price=OfferPrice(
            price.listing_price,
            price.shipping,
            price.points,
        ),
        as_of=found.time_of_fees_estimation.astimezone(UTC),
        total=total,
        fees=fees,
        program=asked.optional_fulfillment_program,
        seller=asked.seller_id,
    )


def _entry(store: str, number: str, question: Question) -> dict[str, object]:
    price: dict[str, object] = {"ListingPrice": _sum(question.price.listing)}
    if question.price.shipping:
        price["Shipping"] = _sum(question.price.shipping)
    if points := question.price.points:
        price["Points"] = {"PointsNumber": points.count}
        if points.value:
            price["Points"] = {"PointsNumber": points.count, "PointsMonetaryValue": _sum(points.value)}
    request: dict[str, object] = {
        "MarketplaceId": store,
        "IsAmazonFulfilled": question.fulfilled_by is FulfilledBy.CHANNEL,
        "PriceToEstimateFees": price,
        "Identifier": number,
    }
    if question.program:
        request["OptionalFulfillmentProgram"] = question.program
    return {
        "FeesEstimateRequest": request,
        "IdType": "ASIN" if question.is_asin else "SellerSKU",
        "IdValue": question.item,
    }


def _sum(amount: Money) -> dict[str, object]:
    return {"CurrencyCode": amount.currency, "Amount": sent(amount.amount)}
