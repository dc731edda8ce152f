"""Movements of money. Source: Finances 2024-06-19, listTransactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pydantic import ConfigDict

from adapters.amazon.client import Client
from adapters.amazon.listings import iso
from adapters.amazon.marketplaces import BY_ID, marketplace
from adapters.amazon.numbers import Cash
from adapters.amazon.paging import Tokens
from adapters.amazon.wire import Instant, rejected
from adapters.port import Page
from adapters.wire import Unclear, Wire, read
from domain.budget import Ask
from domain.errors import Invalid, Transient
from domain.finance import Breakdown, Context, Transaction, TransactionItem, imbalance
from domain.ids import ChannelId
from domain.product import Rejected

OPERATION = "listTransactions"
PATH = "/finances/2024-06-19/transactions"

# Amazon takes up to 180 days, and answers a wider window with nothing and no word. A short one is soon begun anew where its page
# tokens fail, and bounds what must be remembered of it.
WINDOW = timedelta(days=30)
# Amazon may leave out what is younger than 48 h. Whoever goes on from `until` asks for the last three days again.
GAP = timedelta(days=3)
# A window must end two minutes before it is asked for, by Amazon's clock.
MARGIN = timedelta(minutes=5)
# Page tokens sometimes fail for good with a 500, or with a 400 when they have run out: the window is begun anew.
WALKS = 3


class Related(Wire):
    """An identifier of something else."""

    related_identifier_name: str
    related_identifier_value: str


class ItemRelated(Wire):
    """The same, of an item."""

    item_related_identifier_name: str
    item_related_identifier_value: str


class Branch(Wire):
    """A part of an amount, with parts of its own."""

    breakdown_type: str
    breakdown_amount: Cash
    breakdowns: tuple[Branch, ...] | None = None

    def breakdown(self) -> Breakdown:
        """The whole branch."""
        return Breakdown(self.breakdown_type, self.breakdown_amount, _tree(self.breakdowns))


class Note(Wire):
    """A context: its kind, and whatever facts that kind has."""

    model_config = ConfigDict(extra="allow")

    context_type: str

    def facts(self) -> dict[str, object]:
        """By Amazon's names."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}

    def context(self) -> Context:
        """Raises Unclear for facts that are more than a word or a number."""
        facts = self.facts()
        if strange := [name for name, value in facts.items() if isinstance(value, dict | list)]:
            raise Unclear(f"contexts.{strange[0]}: is no plain value")
        return Context(self.context_type, {name: str(value) for name, value in facts.items()})


class ProductNote(Wire):
    """What a ProductContext says."""

    asin: str | None = None
    sku: str | None = None
    quantity_shipped: int | None = None
    fulfillment_network: str | None = None


class Line(Wire):
    """One item of a transaction."""

    description: str | None = None
    total_amount: Cash | None = None
    related_identifiers: tuple[ItemRelated, ...] | None = None
    breakdowns: tuple[Branch, ...] | None = None
    contexts: tuple[Note, ...] | None = None


class Seller(Wire):
    """Whose money it is."""

    selling_partner_id: str | None = None
    account_type: str | None = None
    marketplace_id: str | None = None


class Store(Wire):
    """Where it moved."""

    marketplace_id: str | None = None
    marketplace_name: str | None = None


class Movement(Wire):
    """One transaction. Amazon promises none of it; without these three it is of no use."""

    transaction_type: str
    posted_date: Instant
    total_amount: Cash
    transaction_id: str | None = None
    transaction_status: str | None = None
    description: str | None = None
    selling_partner_metadata: Seller | None = None
    marketplace_details: Store | None = None
    related_identifiers: tuple[Related, ...] | None = None
    items: tuple[Line, ...] | None = None
    breakdowns: tuple[Branch, ...] | None = None
    contexts: tuple[Note, ...] | None = None


class Payload(Wire):
    """One page; it may be empty and yet not the last."""

    transactions: list[object] | None = None
    next_token: str | None = None


class Answer(Wire):
    """The part of the answer that Amazon wraps."""

    payload: Payload


@dataclass(slots=True)
class Told:
    """What has been handed out of one window, so that a walk which begins anew hands out only what is new."""

    before: Counter[str] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)

    def again(self) -> None:
        """A new walk begins."""
        self.before, self.now = self.before | self.now, Counter()

    def fresh(self, key: str, *, single: bool) -> bool:
        """Is this one more than had been told of `key` when the walk began? Of a `single` thing there is one at most."""
        self.now[key] += 1
        return self.now[key] > self.before[key] and not (single and self.now[key] > 1)


async def transaction_pages(
    client: Client,
    since: datetime,
    ask: Ask,
    *,
    until: datetime | None = None,
    code: str | None = None,
    status: str | None = None,
) -> AsyncIterator[Page[Transaction]]:
    """All that was posted from `since` on and before `until` (now), window after window, oldest window first, each page once.

    `code` leaves out orders that the merchant ships in the US, in Amazon's words. What does not add up to the cent is in
    `rejected`. The last page of each window has `until`, three days before now at the latest: what is younger may be incomplete.
    """
    now = datetime.now(UTC)
    end = min(until or now, now - MARGIN)
    query: dict[str, str] = {}
    if code is not None:
        query["marketplaceId"] = marketplace(code).id
    if status is not None:
        query["transactionStatus"] = status
    for after, before in windows(since, end):
        async for page, last in _window(client, {**query, "postedAfter": iso(after), "postedBefore": iso(before)}, ask):
            if last:
                page.until = max(since, min(before, now - GAP))
            yield page


async def order_transactions(client: Client, order_id: str, ask: Ask) -> Page[Transaction]:
    """All that was ever posted of one order. Unlike the windows this may be asked for at any time."""
    query = {"relatedIdentifierName": "ORDER_ID", "relatedIdentifierValue": order_id}
    whole: Page[Transaction] = Page([])
    async for page, _ in _window(client, query, ask):
        whole.items += page.items
        whole.rejected += page.rejected
    return whole


def windows(since: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """From `since` to `end` without gap or overlap, each at most 30 days; none where nothing lies between the two."""
    while since < end:
        before = min(since + WINDOW, end)
        yield since, before
        since = before


async def _window(client: Client, query: dict[str, str], ask: Ask) -> AsyncIterator[tuple[Page[Transaction], bool]]:
    """The pages of one window, and whether each is its last. Raises Transient when its page tokens failed in each walk."""
    told = Told()
    for _ in range(WALKS):
        token, tokens = None, Tokens(OPERATION)
        told.again()
        while True:
            try:
                asked = query if token is None else {**query, "nextToken": token}
                answer = await client.get(OPERATION, PATH, asked, ask, Answer)
            except (Transient, Invalid):
                # Without a token it is the window that fails, not the way through it.
                if token is None:
                    raise
                break
            token = tokens.next(answer.payload.next_token)
            yield page_of(client.channel, answer.payload.transactions or [], told), token is None
            if token is None:
                return
    raise Transient(f"{OPERATION}: a window could not be read to its end, its page tokens fail.")


def page_of(channel: ChannelId, raws: list[object], told: Told) -> Page[Transaction]:
    """What of a page has not been told before."""
    page: Page[Transaction] = Page([])
    for raw in raws:
        one = transaction_of(channel, raw)
        key = f"{one.key}\n{one.raw}" if isinstance(one, Rejected) else one.key
        if not told.fresh(key, single=isinstance(one, Transaction) and one.id is not None):
            continue
        if isinstance(one, Rejected):
            page.rejected.append(one)
        else:
            page.items.append(one)
    return page


def transaction_of(channel: ChannelId, raw: object) -> Transaction | Rejected:
    """One transaction, or why it is none: what cannot be understood, or does not add up."""
    try:
        return _balanced(_transaction(read(Movement, raw)))
    except Unclear as problem:
        return rejected(channel, "transaction", "transactionId", raw, problem)


def _balanced(found: Transaction) -> Transaction:
    """As it is. Raises Unclear where an amount is not what its tree adds up to."""
    faults = [imbalance(found.total, found.breakdowns)]
    faults += [imbalance(one.total, one.breakdowns, f"the item {one.sku or one.description}") for one in found.items]
    if fault := next(filter(None, faults), None):
        raise Unclear(f"It does not add up: {fault}")
    return found


def _transaction(wire: Movement) -> Transaction:
    seller, store = wire.selling_partner_metadata or Seller(), wire.marketplace_details or Store()
    return Transaction(
        id=wire.transaction_id,
        status=wire.transaction_status,
        kind=wire.transaction_type,
        posted_at=wire.posted_date.astimezone(UTC),
        total=wire.total_amount,
        description=wire.description,
        marketplace=_place(store.marketplace_id),
        marketplace_name=store.marketplace_name,
        seller=seller.selling_partner_id,
        account_type=seller.account_type,
        seller_marketplace=_place(seller.marketplace_id),
        related=tuple(
            (one.related_identifier_name, one.related_identifier_value) for one in wire.related_identifiers or ()
        ),
        items=tuple(_item(line) for line in wire.items or ()),
        breakdowns=_tree(wire.breakdowns),
        contexts=tuple(note.context() for note in wire.contexts or ()),
    )


def _item(line: Line) -> TransactionItem:
    contexts = tuple(note.context() for note in line.contexts or ())
    products = [
        read(ProductNote, note.facts()) for note in line.contexts or () if note.context_type == "ProductContext"
    ]
    if len(products) > 1:
        raise Unclear("items.contexts: an item is about two products")
    product = products[0] if products else ProductNote()
    return TransactionItem(
        description=line.description,
        total=line.total_amount,
        sku=product.sku,
        asin=product.asin,
        units=product.quantity_shipped,
        network=product.fulfillment_network,
        related=tuple(
            (one.item_related_identifier_name, one.item_related_identifier_value)
            for one in line.related_identifiers or ()
        ),
        breakdowns=_tree(line.breakdowns),
        contexts=contexts,
    )


def _tree(branches: tuple[Branch, ...] | None) -> tuple[Breakdown, ...]:
    return tuple(branch.breakdown() for branch in branches or ())


def _place(id: str | None) -> str | None:
    return None if id is None else BY_ID.get(id, id)
