"""Reference rates of the European Central Bank: what its files tell, and files that are none."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import httpx
import pytest

from adapters import ecb
from adapters.transport import Transport
from adapters.wire import Unclear
from domain.errors import Transient
from domain.price_inputs import FxRate

DAILY = b"""<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
  <gesmes:subject>Reference rates</gesmes:subject>
  <Cube><Cube time='2026-11-27'><Cube currency='USD' rate='1.0850'/><Cube currency='JPY' rate='165.30'/></Cube></Cube>
</gesmes:Envelope>"""
HISTORY = b"Date,USD,JPY,CYP,\n2026-11-27,1.0850,165.30,N/A,\n2026-11-26,1.0841,165.11,N/A,\n"
BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;">]><a>&c;</a>"""
FRIDAY = date(2026, 11, 27)
DOLLAR = FxRate("EUR", "USD", Decimal("1.0850"), FRIDAY, "ECB")


@pytest.mark.parametrize("file", [DAILY, b"Date, USD, JPY, \n27 November 2026, 1.0850, 165.30, \n"])
def test_a_day_is_read_from_xml_and_from_csv(file: bytes) -> None:
    assert ecb.read(file) == [DOLLAR, FxRate("EUR", "JPY", Decimal("165.30"), FRIDAY, "ECB")]


def test_a_history_is_read_without_what_was_not_quoted() -> None:
    rates = ecb.read(HISTORY)
    assert len(rates) == 4
    assert {one.quote for one in rates} == {"USD", "JPY"}
    assert {one.day for one in rates} == {FRIDAY, date(2026, 11, 26)}


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (BOMB, "document type"),
        (b"<a><b></a>", "no XML"),
        (b"<html>moved</html>", "no rates"),
        (DAILY.replace(b"1.0850", b"-1"), "no rate of 'USD'"),
        (DAILY.replace(b"time='2026-11-27'", b""), "has no day"),
        (b"Date,USD\n27.11.2026,1.08\n", "no day"),
        (b"day,USD\n", "begin with Date"),
        (b"\xff\xfeD\0", "neither XML nor UTF-8"),
        (b"", "Date"),
    ],
)
def test_what_is_no_such_file_is_refused_as_a_whole(file: bytes, words: str) -> None:
    with pytest.raises(Unclear, match=words):
        ecb.read(file)


async def test_it_is_fetched_from_the_address_that_is_told() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200 if len(asked) == 1 else 503, content=DAILY)

    transport = Transport(wire=httpx.MockTransport(answer))
    try:
        assert DOLLAR in await ecb.fetch(transport, "https://rates.example/daily.xml")
        with pytest.raises(Transient, match="503"):
            await ecb.fetch(transport, "https://rates.example/daily.xml")
    finally:
        await transport.close()
    assert asked == ["https://rates.example/daily.xml"] * 2
