"""Who bought and where it goes, out of the data sets BUYER and RECIPIENT. Source: Orders 2026-01-01.

What of them is told depends on the application's restricted roles; without these an answer has the country, and little more.
"""

from __future__ import annotations

from adapters.wire import Wire
from domain.person import Person, Recipient

DATA_SETS = ("BUYER", "RECIPIENT")


class Buyer(Wire):
    """Who ordered. The e-mail address is one of Amazon's relay."""

    buyer_name: str | None = None
    buyer_email: str | None = None


class DeliveryAddress(Wire):
    """Where it goes."""

    name: str | None = None
    company_name: str | None = None
    address_line1: str | None = None
    address_line2: str | None = None
    address_line3: str | None = None
    city: str | None = None
    district_or_county: str | None = None
    municipality: str | None = None
    state_or_region: str | None = None
    postal_code: str | None = None
    country_code: str | None = None
    phone: str | None = None


class Delivery(Wire):
    """Its envelope."""

    delivery_address: DeliveryAddress | None = None


def person(buyer: Buyer | None, delivery: Delivery | None) -> Person | None:
    """None where nobody is named."""
    told = buyer or Buyer()
    at = recipient(delivery)
    named = told.buyer_name or told.buyer_email or (at is not None and (at.name or at.company or at.line1))
    return Person(name=told.buyer_name or None, email=told.buyer_email or None, ship_to=at) if named else None


def recipient(delivery: Delivery | None) -> Recipient | None:
    """None without a country."""
    at = delivery.delivery_address if delivery else None
    if at is None or not at.country_code:
        return None
    return Recipient(
        country=at.country_code,
        name=at.name or None,
        line1=at.address_line1 or None,
        line2=at.address_line2 or None,
        line3=at.address_line3 or None,
        city=at.city or None,
        region=at.state_or_region or None,
        postal_code=at.postal_code or None,
        phone=at.phone or None,
        company=at.company_name or None,
        district=", ".join(dict.fromkeys(one for one in (at.district_or_county, at.municipality) if one)) or None,
    )
