"""From a movement of money, as a channel tells it before a settlement does, to lines of money that add up to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from domain.finance import DEFERRED, Breakdown, Transaction, TransactionItem
from domain.ids import ChannelId, ChannelSku, Sku
from domain.money import Money
from domain.money_class import Event, MoneyClass
from domain.money_line import MoneyLine, Source, Stage, day_of
from domain.money_match import Rule
from domain.order import Order, OrderLine

Meaning = Callable[[str, str, str], tuple[Event, MoneyClass]]
"""What a kind, a kind of amount and a description mean."""


@dataclass(frozen=True, slots=True)
class Known:
    """What we know beside it: orders by the channel's ids, SKUs by the channel's, the clock of each marketplace, and words."""

    orders: Mapping[str, Order]
    skus: Mapping[ChannelSku, Sku]
    zone: Callable[[str | None], ZoneInfo]
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Share:
    """One amount of a transaction that is not made of others. `amount_kind` are the branches above it, joined by "/"."""

    item: TransactionItem | None
    amount_kind: str
    description: str
    amount: Decimal


def order_of(one: Transaction) -> str | None:
    """The order that it is of, by the channel's id; None where it names none, or more than one."""
    named = set(one.values("ORDER_ID"))
    return named.pop() if len(named) == 1 else None


def lines_of(channel: ChannelId, key: str, one: Transaction, known: Known) -> list[MoneyLine]:
    """Its lines; they add up to its total exactly. `key` is what it is kept under."""
    order = known.orders.get(order_of(one) or "")
    lines: list[MoneyLine] = []
    counted: set[int] = set()
    for share in shares_of(one):
        event, money_class = known.meaning(one.kind, share.amount_kind, share.description)
        item, units = share.item, None
        if item is not None and money_class is MoneyClass.SALE and id(item) not in counted:
            # Once for an item, however many leaves its sale has; what takes a sale back takes back its units.
            counted.add(id(item))
            back = event is Event.SALE and share.amount < 0
            units = -abs(item.units) if back and item.units else item.units
        sku = None if item is None or item.sku is None else ChannelSku(item.sku)
        ordered = _ordered(order, sku)
        ours = ordered.sku if ordered is not None and ordered.sku is not None else known.skus.get(sku or ChannelSku(""))
        lines.append(
            MoneyLine(
                channel=channel,
                source=Source.TRANSACTION,
                stage=Stage.DEFERRED if one.status == DEFERRED else Stage.RELEASED,
                event=event,
                money_class=money_class,
                amount=Money(share.amount, one.total.currency),
                posted_at=one.posted_at,
                day=day_of(event, order.placed_at if order else None, one.posted_at, known.zone(one.marketplace)),
                kind=one.kind,
                amount_kind=share.amount_kind,
                description=share.description,
                reference=key,
                marketplace=one.marketplace,
                order_external_id=order_of(one),
                shipment_id=_first(one.values("SHIPMENT_ID")),
                adjustment_id=_first(one.values("REFUND_ID")),
                channel_sku=sku,
                units=units,
                order_id=order.id if order else None,
                order_line_id=ordered.id if ordered else None,
                sku=ours,
                matched_by=_rule(one, order, ordered, sku, ours),
            )
        )
    return lines


def shares_of(one: Transaction) -> list[Share]:
    """What its total is made of: the leaves of its items, which name a SKU, and of its own tree what these do not hold. What
    neither explains stands under the transaction's own words, so that nothing is lost."""
    shares = [share for item in one.items for share in _of_item(item, one.total.currency)]
    missing = one.total.amount - _sum(shares)
    if missing or not shares:
        shares += _beside(one, shares)
        missing = one.total.amount - _sum(shares)
    if missing or not shares:
        shares.append(Share(None, "", one.description or "", missing))
    return shares


def _beside(one: Transaction, held: list[Share]) -> list[Share]:
    """What of the transaction's own tree its items do not hold: nothing where the two trees have different branches."""
    left: dict[tuple[str, str], Decimal] = {}
    for share in _leaves(None, one.breakdowns):
        words = share.amount_kind, share.description
        left[words] = left.get(words, Decimal(0)) + share.amount
    for share in held:
        words = share.amount_kind, share.description
        if words not in left:
            return []
        left[words] -= share.amount
    return [Share(None, *words, amount) for words, amount in left.items() if amount or not held]


def _of_item(item: TransactionItem, currency: str) -> list[Share]:
    """Nothing of an item in another currency than the whole: its amounts cannot be added to it."""
    shares = list(_leaves(item, item.breakdowns))
    amounts = [one.amount for one in item.breakdowns]
    if not shares and item.total is not None:
        amounts = [item.total]
        shares = [Share(item, "", "" if item.sku else item.description or "", item.total.amount)]
    return shares if all(amount.currency == currency for amount in amounts) else []


def _leaves(item: TransactionItem | None, parts: Iterable[Breakdown], above: str = "") -> Iterator[Share]:
    for part in parts:
        if part.parts:
            yield from _leaves(item, part.parts, f"{above}/{part.kind}" if above else part.kind)
        else:
            yield Share(item, above, part.kind, part.amount.amount)


def _ordered(order: Order | None, sku: ChannelSku | None) -> OrderLine | None:
    """The line of the order that is meant: a channel that names no lines names one by its SKU, where only one has it. The lines
    of a sketch make room for others."""
    found = [line for line in order.lines if line.channel_sku == sku] if order and order.whole and sku else []
    return found[0] if len(found) == 1 else None


def _rule(
    one: Transaction, order: Order | None, ordered: OrderLine | None, sku: ChannelSku | None, ours: Sku | None
) -> str | None:
    """The name of what ties it to something of ours; None where nothing does."""
    if ordered is not None:
        return Rule.ORDER_SKU.value
    if order is not None:
        return Rule.ORDER.value
    if one.values("ORDER_ID"):
        return None
    if sku is None:
        return Rule.ACCOUNT.value
    return Rule.SKU.value if ours is not None else None


def _sum(shares: Iterable[Share]) -> Decimal:
    return sum((share.amount for share in shares), Decimal(0))


def _first(values: tuple[str, ...]) -> str | None:
    return values[0] if values else None
