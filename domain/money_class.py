"""What money is for: one taxonomy for every channel's words.

A channel's words are told apart by tables of data (`domain/words/money_*.toml`). Words that are in none of them are UNCLASSIFIED:
they keep their name, count where everybody sees them, and raise an alert; there is no class for the rest.
"""

from __future__ import annotations

from enum import Enum


class Event(Enum):
    """What moved the money: an order's sale, giving something of it back, or something that is of no order."""

    SALE = "SALE"
    REFUND = "REFUND"
    ACCOUNT = "ACCOUNT"


class Part(Enum):
    """Where an amount stands in a profit: profit = revenue - fees - refunds - cost.

    TAX is of a state and never in a profit, BALANCE only moves between a channel's books and ours (reserves, transfers).
    UNCLASSIFIED counts as a fee, and is told beside it.
    """

    REVENUE = "REVENUE"
    REFUNDS = "REFUNDS"
    FEES = "FEES"
    TAX = "TAX"
    BALANCE = "BALANCE"
    UNCLASSIFIED = "UNCLASSIFIED"


class MoneyClass(Enum):
    """What an amount is for, whoever told it."""

    SALE = "SALE"
    SHIPPING = "SHIPPING"
    GIFT_WRAP = "GIFT_WRAP"
    PROMOTION = "PROMOTION"
    SURCHARGE = "SURCHARGE"  # what buyers pay beside: cash on delivery, tips, duties
    TAX_COLLECTED = "TAX_COLLECTED"  # of buyers, tax of shipping and gift wrap too
    TAX_WITHHELD = "TAX_WITHHELD"  # by the marketplace, which hands it to the state
    REFERRAL_FEE = "REFERRAL_FEE"
    CLOSING_FEE = "CLOSING_FEE"
    PER_ITEM_FEE = "PER_ITEM_FEE"
    DIGITAL_SERVICES_FEE = "DIGITAL_SERVICES_FEE"
    FULFILLMENT_FEE = "FULFILLMENT_FEE"  # FBA pick and pack
    STORAGE_FEE = "STORAGE_FEE"
    INBOUND_FEE = "INBOUND_FEE"
    REMOVAL_FEE = "REMOVAL_FEE"
    RETURN_FEE = "RETURN_FEE"
    REFUND_ADMINISTRATION_FEE = "REFUND_ADMINISTRATION_FEE"
    SUBSCRIPTION_FEE = "SUBSCRIPTION_FEE"
    SERVICE_FEE = "SERVICE_FEE"  # services with a name of their own: tax collection, support, recycling
    ADVERTISING = "ADVERTISING"
    COUPON_FEE = "COUPON_FEE"  # and deals
    PAYMENT_FEE = "PAYMENT_FEE"
    SHIPPING_LABEL = "SHIPPING_LABEL"
    SHIPPING_CHARGEBACK = "SHIPPING_CHARGEBACK"
    CHARGEBACK = "CHARGEBACK"
    REIMBURSEMENT = "REIMBURSEMENT"  # of lost and damaged units; less fees
    ADJUSTMENT = "ADJUSTMENT"  # a correction that the channel itself calls by that name alone
    PAYMENT = "PAYMENT"  # of a buyer, or back: what it is for is not known yet, nor how much of it is tax
    RESERVE = "RESERVE"
    TRANSFER = "TRANSFER"
    UNCLASSIFIED = "UNCLASSIFIED"


_TAXES = frozenset({MoneyClass.TAX_COLLECTED, MoneyClass.TAX_WITHHELD})
_BALANCES = frozenset({MoneyClass.PAYMENT, MoneyClass.RESERVE, MoneyClass.TRANSFER})
_BUYERS = frozenset(
    {MoneyClass.SALE, MoneyClass.SHIPPING, MoneyClass.GIFT_WRAP, MoneyClass.PROMOTION, MoneyClass.SURCHARGE}
)


PENDING = frozenset({MoneyClass.PAYMENT, MoneyClass.UNCLASSIFIED})
"""What nobody can book before it is known what it is for."""


def part_of(of: MoneyClass, event: Event) -> Part:
    """Where an amount of that class stands: what buyers paid is revenue, what goes back to them refunds."""
    if of is MoneyClass.UNCLASSIFIED:
        return Part.UNCLASSIFIED
    if of in _TAXES:
        return Part.TAX
    if of in _BALANCES:
        return Part.BALANCE
    if of in _BUYERS:
        return Part.REFUNDS if event is Event.REFUND else Part.REVENUE
    return Part.FEES
