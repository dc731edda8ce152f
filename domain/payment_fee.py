"""What the payment provider of a shop takes of an order, as people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class PaymentFee:
    """So many percent of what a buyer pays, and an amount for each order, in its currency."""

    percent: Decimal
    each: Decimal = Decimal(0)


_FORM = re.compile(r"(\d{1,2}(?:\.\d{1,4})?) ?%(?: ?\+ ?(\d{1,6}(?:\.\d{1,3})?))?", re.ASCII)


def read_payment_fee(text: str) -> PaymentFee:
    """As people write it: `2.9 % + 0.30`, or `1.4 %`. Raises Invalid."""
    read = _FORM.fullmatch(text.strip())
    if read is None:
        raise Invalid(f"{text!r} is no fee; write percent and what is taken of each order, such as `2.9 % + 0.30`.")
    return PaymentFee(Decimal(read[1]), Decimal(read[2] or 0))
