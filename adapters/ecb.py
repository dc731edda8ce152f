"""The reference rates of the European Central Bank: daily and historical, as XML (eurofxref-daily.xml, eurofxref-hist.xml) or CSV
(eurofxref-hist.csv, eurofxref.csv). One euro is worth so much of each other currency. Source: the ECB's pages about its rates."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from xml.parsers import expat

from adapters.transport import Call, Transport
from adapters.wire import Unclear
from domain.errors import Transient
from domain.price_inputs import FxRate

SOURCE, BASE = "ECB", "EUR"
_CODE = re.compile(r"[A-Z]{3}")
_MISSING = ("", "N/A")


async def fetch(transport: Transport, url: str) -> list[FxRate]:
    """What the address tells. Raises Transient where it does not answer well, Unclear where it tells no rates."""
    answer = await transport.send("GET", url, write=False, call=Call("fx", "reference rates"))
    if answer.status != 200:
        raise Transient(f"{url} answered {answer.status} instead of rates.")
    return read(answer.body)


def read(body: bytes) -> list[FxRate]:
    """The rates of a file, XML or CSV. Raises Unclear for one that is neither, or that holds something else than rates."""
    found = list(_xml(body) if body.lstrip().startswith(b"<") else _csv(body))
    if not found:
        raise Unclear("it holds no rates")
    return found


class _Cubes:
    """Takes the rates out of `<Cube time="…"><Cube currency="…" rate="…"/></Cube>`."""

    def __init__(self) -> None:
        self.day: date | None = None
        self.rates: list[FxRate] = []

    def doctype(self, *_: object) -> None:
        # The ECB's files have none, and whoever declares entities wants to fill our memory.
        raise Unclear("it declares a document type")

    def element(self, name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(":")[2] != "Cube":
            return
        if "time" in attributes:
            self.day = _day(attributes["time"])
        if "currency" in attributes:
            if self.day is None:
                raise Unclear(f"the rate of {attributes['currency']} has no day")
            self.rates.append(_rate(attributes["currency"], attributes.get("rate", ""), self.day))


def _xml(body: bytes) -> list[FxRate]:
    cubes, parser = _Cubes(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = cubes.doctype
    parser.StartElementHandler = cubes.element
    try:
        parser.Parse(body, True)
    except expat.ExpatError as problem:
        raise Unclear(f"it is no XML: {expat.errors.messages[problem.code]}") from None
    return cubes.rates


def _csv(body: bytes) -> Iterator[FxRate]:
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Unclear("it is neither XML nor UTF-8") from None
    rows = csv.reader(lines)
    head = [one.strip() for one in next(rows, [])]
    if not head or head[0] != "Date":
        raise Unclear("its first line does not begin with Date")
    for row in rows:
        if not row:
            continue
        day = _day(row[0].strip())
        for code, told in zip(head[1:], row[1:], strict=False):
            if code and told.strip() not in _MISSING:
                yield _rate(code, told.strip(), day)


def _day(told: str) -> date:
    for form in ("%Y-%m-%d", "%d %B %Y"):
        try:
            return datetime.strptime(told, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    raise Unclear(f"{told!r} is no day")


def _rate(code: str, told: str, day: date) -> FxRate:
    try:
        rate = Decimal(told)
    except InvalidOperation:
        raise Unclear(f"{told!r} is no rate of {code}") from None
    if not _CODE.fullmatch(code) or not rate.is_finite() or rate <= 0:
        raise Unclear(f"{told!r} is no rate of {code!r}")
    return FxRate(BASE, code, rate, day, SOURCE)
