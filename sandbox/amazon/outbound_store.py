"""Fulfillment orders: other shops' orders that Amazon ships out of the FBA pools. One store, seen through both versions of the
API.

An order goes its way by the sandbox's clock: received, planned after five minutes, picked after an hour, shipped after six,
delivered after days. A held one ends after 14 days. Its units come out of what Amazon's own orders take theirs from.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sandbox.amazon import outbound_orders
from sandbox.amazon.auth import Account
from sandbox.amazon.errors import Failure, not_found
from sandbox.amazon.marketplaces import MARKETPLACES
from sandbox.amazon.outbound_returns import ReturnItem
from sandbox.amazon.query import seal, unseal
from sandbox.amazon.state import Amazon, money, pool_of
from sandbox.journal import iso
from sandbox.world import Product

SPEEDS = ("STANDARD", "EXPEDITED", "PRIORITY", "SCHEDULED")
ACTIONS = ("SHIP", "HOLD")
POLICIES = ("FILL_OR_KILL", "FILL_ALL", "FILL_ALL_AVAILABLE")
STATUSES = (
    "NEW",
    "RECEIVED",
    "PLANNING",
    "PROCESSING",
    "CANCELLED",
    "COMPLETE",
    "COMPLETE_PARTIALLED",
    "UNFULFILLABLE",
    "INVALID",
)
CANCELABLE = ("NEW", "RECEIVED", "PLANNING")
OPEN = (*CANCELABLE, "PROCESSING")
PAGE = 50
"""Orders on a page of a list."""
NO_UNITS, NO_DELIVERY = "ItemQuantityNotAvailable", "DeliverySLAUnavailable"

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_DAYS = {"STANDARD": 4, "EXPEDITED": 2, "PRIORITY": 1, "SCHEDULED": 3}
_HOLD_S = 14 * _DAY
_SERVED = {"US": ("US",), "EU": ("DE", "FR", "IT", "ES", "NL", "BE", "AT", "PL"), "JP": ("JP",)}
_FEES = {"USD": ("3.95", "2.10"), "EUR": ("3.60", "1.90"), "JPY": ("420", "260")}


@dataclass(slots=True)
class Line:
    """Units of one SKU; `taken` of them are put aside in the pool."""

    id: str
    product: Product
    quantity: int
    declared: dict[str, Any] | None = None
    taken: int = 0
    cancelled: int = 0
    unfulfillable: int = 0


@dataclass(slots=True)
class Parcel:
    """What was packed; `status` is a word of 2026-07-04."""

    number: int
    carrier: str
    tracking: str
    packed_at: datetime
    status: str = "PROCESSING"
    shipped_at: datetime | None = None
    arrives_at: datetime | None = None


@dataclass(slots=True)
class FulfillmentOrder:
    """One order. `address` is as it was sent; `seen` says whether a read shows it already; `turn` grows with each change from
    outside, so that the steps planned before are not taken."""

    id: str
    account: Account
    marketplace: str
    address: dict[str, Any]
    lines: list[Line]
    speed: str = "STANDARD"
    action: str = "SHIP"
    policy: str = "FILL_OR_KILL"
    features: tuple[str, ...] = ()
    slip: dict[str, str] = field(default_factory=dict)
    received_at: datetime | None = None
    updated_at: datetime | None = None
    status: str = "NEW"
    parcel: Parcel | None = None
    seen: bool = False
    turn: int = 0
    returns: list[ReturnItem] = field(default_factory=list)
    # Return authorizations with Amazon's RMA ids.
    authorizations: dict[str, str] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """When its status changed last."""
        assert self.updated_at is not None
        return self.updated_at


class Store:
    """All fulfillment orders of one sandbox, by (seller, id)."""

    def __init__(self, amazon: Amazon) -> None:
        self.amazon = amazon
        self.orders: dict[tuple[str, str], FulfillmentOrder] = {}

    def find(self, account: Account, order_id: str) -> FulfillmentOrder:
        """404 also while it cannot be seen yet."""
        order = self.orders.get((account.seller, order_id))
        if order is None or not order.seen:
            raise not_found(f"The fulfillment order '{order_id}' does not exist.")
        return order

    def changed(
        self, account: Account, since: datetime, token: str | None, wrong: Callable[[str], Failure]
    ) -> tuple[list[FulfillmentOrder], str | None]:
        """One page of those that can be seen and whose status changed at that time or later, oldest change first, and the token
        of the next page."""
        told = None if token is None else unseal(token)
        if token is not None and (
            told is None or told.get("to") != "fulfillment orders" or told["of"] != account.seller
        ):
            raise wrong("The token is invalid.")
        since, start = (since, 0) if told is None else (datetime.fromisoformat(told["since"]), int(told["start"]))
        found = sorted(
            (one for one in self.orders.values() if one.account is account and one.seen and one.at >= since),
            key=lambda one: (one.at, one.id),
        )
        end = start + PAGE
        more = {"to": "fulfillment orders", "of": account.seller, "since": since.isoformat(), "start": end}
        return found[start:end], seal(more) if len(found) > end else None

    def product(self, order: FulfillmentOrder, sku: object, wrong: Callable[[str], Failure]) -> Product:
        """A product that Amazon holds for the account's marketplace."""
        product = self.amazon.world.find(str(sku))
        if product is None or product.fulfilled_by != "AMAZON" or order.marketplace not in product.marketplaces:
            raise wrong(f"The SellerSKU '{sku}' is not held in the fulfillment network.")
        return product

    def short(self, order: FulfillmentOrder) -> dict[str, int]:
        """Units that are missing, by line id; of two lines of one SKU the later one goes short."""
        left: dict[int, int] = {}
        missing = {}
        for line in order.lines:
            pool = pool_of(order.marketplace)
            there = left.setdefault(line.product.index, self.amazon.stock(line.product, pool)[0].fulfillable)
            got = min(there, line.quantity)
            left[line.product.index] = there - got
            if got < line.quantity:
                missing[line.id] = line.quantity - got
        return missing

    def delivered(self, order: FulfillmentOrder, speed: str) -> bool:
        """Whether anybody brings it there so fast."""
        pool = pool_of(order.marketplace)
        if speed == "PRIORITY" or (speed == "SCHEDULED" and pool != "JP"):
            return False
        return str(order.address.get("countryCode")) in _SERVED[pool]

    def fees(self, order: FulfillmentOrder, speed: str) -> dict[str, Decimal]:
        """What it costs, in the marketplace's currency."""
        each, once = map(Decimal, _FEES[MARKETPLACES[order.marketplace].currency])
        hurry = {"STANDARD": 1, "EXPEDITED": 2, "PRIORITY": 3, "SCHEDULED": 2}[speed]
        units = sum(line.quantity for line in order.lines)
        return {
            "FBAPerUnitFulfillmentFee": money(each * units, order.marketplace),
            "FBATransportationFee": money(once * hurry, order.marketplace),
        }

    def windows(self, speed: str) -> tuple[datetime, datetime, datetime, datetime]:
        """Ships from, until; arrives from, until."""
        now = self.amazon.clock.now()
        ships = now + timedelta(hours=6)
        arrives = now + timedelta(days=_DAYS[speed])
        return ships, ships + timedelta(hours=12), arrives, arrives + timedelta(days=1)

    def create(self, order: FulfillmentOrder, operation: str, wrong: Callable[[str], Failure]) -> None:
        """Take the order and its units; a Failure takes nothing. Each id is taken once, whatever became of its order."""
        if (order.account.seller, order.id) in self.orders:
            raise wrong(f"A fulfillment order with the id '{order.id}' exists already.")
        if not self.delivered(order, order.speed):
            # The platform repeats what it does not like.
            place = f"{order.address.get('addressLine1')}, {order.address.get('postalCode')}"
            raise _refused(NO_DELIVERY, f"'{place}' cannot be reached at the speed {order.speed}.", wrong)
        missing = self.short(order)
        there = sum(line.quantity - missing.get(line.id, 0) for line in order.lines)
        if missing and (order.policy == "FILL_OR_KILL" or (order.policy == "FILL_ALL_AVAILABLE" and not there)):
            raise _refused(NO_UNITS, f"There are not enough units of the item '{min(missing)}'.", wrong)
        for line in order.lines:
            line.unfulfillable = missing.get(line.id, 0)
            line.taken = line.quantity - line.unfulfillable
            self._move(order, line, line.taken)
        order.received_at = order.updated_at = self.amazon.clock.now()
        self.orders[order.account.seller, order.id] = order
        self._effect(operation, order, {"fulfillmentOrder": "created", "units": there, "action": order.action})
        outbound_orders.show(self.amazon, order)
        self.amazon.later(lambda: setattr(order, "seen", True))
        self._plan(order)

    def cancel(self, order: FulfillmentOrder, operation: str, wrong: Callable[[str], Failure]) -> None:
        """Give the units back. A canceled order may be canceled again; one that is being picked no more."""
        if order.status == "CANCELLED":
            return
        if order.status not in CANCELABLE:
            raise wrong(f"The fulfillment order '{order.id}' cannot be cancelled, its status is {order.status}.")
        order.turn += 1
        self._end(order)
        self._effect(operation, order, {"fulfillmentOrder": "cancelled"})

    def put(self, order: FulfillmentOrder, status: str, operation: str) -> None:
        """Set a status from outside, as the platform's own sandbox lets one do."""
        order.turn += 1
        if status == "CANCELLED":
            self._end(order)
        elif status in ("COMPLETE", "COMPLETE_PARTIALLED"):
            self._pack(order)
            self._ship(order)
            self._turn_to(order, status)
        else:
            if status == "PROCESSING":
                self._pack(order)
            self._turn_to(order, status)
        self._effect(operation, order, {"status": status})

    def put_parcel(self, order: FulfillmentOrder, status: str, operation: str) -> None:
        """The same of its parcel."""
        if order.parcel is not None:
            order.parcel.status = status
            self._effect(operation, order, {"package": order.parcel.number, "status": status})

    def _plan(self, order: FulfillmentOrder) -> None:
        self._step(order, 10, lambda: self._turn_to(order, "RECEIVED"))
        if order.action == "HOLD":
            self._step(order, _HOLD_S, lambda: self._end(order))
            return
        self._step(order, 5 * _MINUTE, lambda: self._turn_to(order, "PLANNING"))
        self._step(order, _HOUR, lambda: self.pick(order))
        self._step(order, 6 * _HOUR, lambda: self._leave(order))
        days = _DAYS[order.speed]
        self._step(order, days * _DAY - 12 * _HOUR, lambda: self._bring(order, "OUT_FOR_DELIVERY"))
        self._step(order, days * _DAY, lambda: self._bring(order, "DELIVERED"))

    def _step(self, order: FulfillmentOrder, after_s: float, do: Callable[[], None]) -> None:
        turn = order.turn

        def step() -> None:
            if order.turn == turn:
                do()

        self.amazon.later(step, after_s)

    def pick(self, order: FulfillmentOrder) -> None:
        self._pack(order)
        self._turn_to(order, "PROCESSING")

    def _leave(self, order: FulfillmentOrder) -> None:
        self._ship(order)
        shipped = sum(line.taken for line in order.lines)
        whole = shipped == sum(line.quantity for line in order.lines)
        self._turn_to(order, "COMPLETE" if whole else "COMPLETE_PARTIALLED" if shipped else "UNFULFILLABLE")

    def _bring(self, order: FulfillmentOrder, status: str) -> None:
        if order.parcel is not None:
            order.parcel.status = status

    def tell(self, order: FulfillmentOrder, what: str, returned: dict[str, Any] | None = None) -> None:
        """FULFILLMENT_ORDER_STATUS: the order, its shipment, or what comes back of it, has come on. The schema requires all three
        parts, so those that there is nothing about are empty."""
        parcel, seller = order.parcel, order.account.seller
        package: dict[str, Any] = {}
        if parcel is not None:
            package = {
                "PackageNumber": parcel.number,
                "CarrierCode": parcel.carrier,
                "TrackingNumber": parcel.tracking,
            }
        arrives = parcel.arrives_at if parcel else None
        sent = "" if parcel is None else "SHIPPED" if parcel.shipped_at else "PENDING"
        told = {
            "SellerId": seller,
            "EventType": what,
            "StatusUpdatedDateTime": iso(self.amazon.clock.now()),
            "SellerFulfillmentOrderId": order.id,
            "FulfillmentOrderStatus": order.status,
            "FulfillmentShipment": {
                "FulfillmentShipmentStatus": sent,
                "AmazonShipmentId": f"D{parcel.number}" if parcel else "",
                "EstimatedArrivalDateTime": iso(arrives) if arrives else "",
                "info": package,
                "FulfillmentShipmentPackages": [package] if package else [],
            },
            "FulfillmentReturnItem": returned or {"ReceivedDateTime": "", "ReturnedQuantity": 0, "SellerSKU": ""},
        }
        self.amazon.notices.tell(seller, "FULFILLMENT_ORDER_STATUS", {"FulfillmentOrderStatusNotification": told})

    def _pack(self, order: FulfillmentOrder) -> None:
        if order.parcel is not None or not any(line.taken for line in order.lines):
            return
        dice = self.amazon.world.random("outbound", order.account.seller, order.id)
        own = "BLOCK_AMZL" not in order.features
        number = dice.randrange(10**8, 10**9)
        tracking = f"TBA{dice.randrange(10**11, 10**12)}" if own else f"1Z{dice.randrange(10**15, 10**16)}"
        arrives = self.amazon.clock.now() + timedelta(days=_DAYS[order.speed])
        order.parcel = Parcel(
            number, "AMZN_US" if own else "UPS", tracking, self.amazon.clock.now(), arrives_at=arrives
        )
        self.tell(order, "Shipment")

    def _ship(self, order: FulfillmentOrder) -> None:
        if order.parcel is None or order.parcel.shipped_at is not None:
            return
        order.parcel.shipped_at = self.amazon.clock.now()
        order.parcel.status = "IN_TRANSIT"
        for line in order.lines:
            stock = self.amazon.stock(line.product, pool_of(order.marketplace))[0]
            self.amazon.put_stock(
                line.product,
                pool_of(order.marketplace),
                reserved_orders=max(0, stock.reserved_orders - line.taken),
            )
        units = sum(line.taken for line in order.lines)
        self.tell(order, "Shipment")
        self._effect("ship", order, {"fulfillmentOrder": "shipped", "package": order.parcel.number, "units": units})

    def _end(self, order: FulfillmentOrder) -> None:
        for line in order.lines:
            self._move(order, line, -line.taken)
            line.cancelled, line.taken = line.quantity - line.unfulfillable, 0
        self._turn_to(order, "CANCELLED")

    def _move(self, order: FulfillmentOrder, line: Line, units: int) -> None:
        """Units of the pool from sellable to reserved; a negative number puts them back."""
        if not units:
            return
        pool = pool_of(order.marketplace)
        stock = self.amazon.stock(line.product, pool)[0]
        self.amazon.put_stock(
            line.product,
            pool,
            fulfillable=stock.fulfillable - units,
            reserved_orders=max(0, stock.reserved_orders + units),
        )

    def _turn_to(self, order: FulfillmentOrder, status: str) -> None:
        order.status, order.updated_at = status, self.amazon.clock.now()
        outbound_orders.show(self.amazon, order)
        self.tell(order, "Order")

    def _effect(self, operation: str, order: FulfillmentOrder, detail: dict[str, Any]) -> None:
        lines = [{"id": line.id, "sku": line.product.sku, "quantity": line.quantity} for line in order.lines]
        self.amazon.journal.effect(operation, order.id, {**detail, "lines": lines})


def _refused(code: str, details: str, wrong: Callable[[str], Failure]) -> Failure:
    """The newer version says by its code what the older one says by its words alone."""
    failure = wrong(details)
    if failure.code == "InvalidRequest":
        return Failure(400, code, failure.message, details)
    return failure
