"""Who bought, and where the goods go. A person's: never logged, never printed, kept encrypted and apart from the order."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from domain.address import Address
from domain.errors import Invalid

AREA = 3


@dataclass(frozen=True, slots=True)
class Destination:
    """Roughly where an order goes: enough for rules, too little for an address. `country` is the two letters of ISO 3166, `area`
    the first characters of the postal code, "" where there is none."""

    country: str
    area: str = ""


@dataclass(frozen=True, slots=True)
class Recipient:
    """An address as a channel tells it, which may lack anything but its country. `region` is a state or province, `district` a
    part of a town or county where addresses name one."""

    country: str
    name: str | None = field(default=None, repr=False)
    line1: str | None = field(default=None, repr=False)
    line2: str | None = field(default=None, repr=False)
    line3: str | None = field(default=None, repr=False)
    city: str | None = field(default=None, repr=False)
    region: str | None = field(default=None, repr=False)
    postal_code: str | None = field(default=None, repr=False)
    phone: str | None = field(default=None, repr=False)
    company: str | None = field(default=None, repr=False)
    district: str | None = field(default=None, repr=False)

    @property
    def destination(self) -> Destination | None:
        """Roughly where it is; None where the country is no code of ISO 3166."""
        if not (len(self.country) == 2 and self.country.isascii() and self.country.isupper()):
            return None
        area = "".join(letter for letter in self.postal_code or "" if letter.isalnum())[:AREA].upper()
        return Destination(self.country, area)

    def address(self, email: str | None = None) -> Address:
        """As carriers want it, company and district in lines of their own. Raises Invalid, naming the field that is missing."""
        more = [self.line2, self.line3, self.company if self.name else None, self.district if self.city else None]
        line2, *rest = [one for one in more if one] or [""]
        return Address(
            country=self.country,
            name=self.name or self.company or "",
            line1=self.line1 or "",
            postal_code=self.postal_code or "",
            city=self.city or self.district or "",
            line2=line2,
            line3=", ".join(rest),
            state=self.region or "",
            phone=self.phone or "",
            email=email or "",
        )


@dataclass(frozen=True, slots=True)
class Person:
    """The buyer by `name` and `email`, and the address that the goods go to; None where the channel does not tell."""

    name: str | None = field(default=None, repr=False)
    email: str | None = field(default=None, repr=False)
    ship_to: Recipient | None = None

    def to_json(self) -> dict[str, object]:
        """As JSON values; what is not told is left out."""
        told: dict[str, object] = {"name": self.name, "email": self.email}
        if self.ship_to is not None:
            told["ship_to"] = _told({one.name: getattr(self.ship_to, one.name) for one in fields(Recipient)})
        return _told(told)

    @classmethod
    def from_json(cls, told: dict[str, object]) -> Person:
        """The same again. Raises Invalid for what `to_json` did not make."""
        ship_to = told.get("ship_to")
        try:
            return cls(
                name=_text(told.get("name")),
                email=_text(told.get("email")),
                ship_to=None
                if not isinstance(ship_to, dict)
                else Recipient(**{key: str(value) for key, value in ship_to.items()}),
            )
        except TypeError:
            raise Invalid("What is kept of a person has fields that are not known here.") from None


def _told(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
