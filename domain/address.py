"""Where a parcel goes to or comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from domain.errors import Invalid


@dataclass(frozen=True, slots=True)
class Address:
    """A postal address. `country` is the two letters of ISO 3166; `state` what the country calls its states or provinces.

    It is a person's: only the country is ever printed, and it is given to nobody but who carries the parcel.
    Raises Invalid, naming the field and never what stands in it.
    """

    country: str
    name: str = field(repr=False)
    line1: str = field(repr=False)
    postal_code: str = field(repr=False)
    city: str = field(default="", repr=False)
    line2: str = field(default="", repr=False)
    line3: str = field(default="", repr=False)
    state: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    email: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Z]{2}", self.country) or self.country == "UK":
            raise Invalid(
                "The country of an address is one of the codes of ISO 3166, such as US or GB.",
                field=("address", "country"),
            )
        for name in ("name", "line1", "postal_code"):
            if not getattr(self, name).strip():
                raise Invalid(f"An address needs its {name}.", field=("address", name))

    @property
    def texts(self) -> tuple[str, ...]:
        """All that is a person's, the longest first: what must not be repeated to anybody else."""
        parts = (
            self.name,
            self.line1,
            self.line2,
            self.line3,
            self.city,
            self.state,
            self.postal_code,
            self.phone,
            self.email,
        )
        return tuple(sorted({part for part in parts if part}, key=len, reverse=True))
