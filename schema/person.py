"""Who bought, and where it goes."""

from __future__ import annotations

import strawberry


@strawberry.type(description="Who bought.")
class Buyer:
    name: str | None
    email: str | None = strawberry.field(description="At Amazon an address of its relay.")


@strawberry.type(description="Where it goes.")
class Address:
    name: str | None
    company: str | None
    line1: str | None
    line2: str | None
    line3: str | None
    district: str | None = strawberry.field(description="A part of a town or county, where addresses name one.")
    city: str | None
    region: str | None = strawberry.field(description="A state or province.")
    postal_code: str | None
    country: str = strawberry.field(description="The two letters of ISO 3166.")
    phone: str | None


@strawberry.type(description="Roughly where it goes: enough for rules, too little for an address.")
class Destination:
    country: str = strawberry.field(description="The two letters of ISO 3166.")
    area: str = strawberry.field(description="The first characters of the postal code; empty where there is none.")
