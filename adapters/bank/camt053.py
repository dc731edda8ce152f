"""Statements of accounts as banks send them: CAMT.053, versions 001.02 to 001.08, read element by element in bounded memory.

A file is taken whole or not at all. Where a statement says what the account held before and after, its booked entries must come
to the difference. CdtDbtInd says what an entry itself does, that of a reversal too: one that is DBIT, with RvslInd, takes back a
credit. Source: ISO 20022, BankToCustomerStatement, message definition reports of camt.053.001.02 and 001.08; versions
between name what is read here as one of these two does (Swiss banks send 001.04).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import BinaryIO
from xml.parsers import expat

from adapters.wire import Unclear
from domain.bank import REVERSAL, BankLine, Keys, account_of
from domain.errors import Invalid
from domain.money import Money, minor_digits

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
VERSIONS = ("02", "03", "04", "05", "06", "07", "08")
CHUNK = 64 * 1024
MOST_LINES = 500_000
DEEPEST = 40
LONGEST_ENTRY = 4 * 1024 * 1024
"""Characters of one entry, which may hold thousands of payments."""
MOST_PAYMENTS = 50_000
"""In one entry, whatever they say."""
LONGEST_WORDS = 4_000
# Nothing comes to its end for so long only where somebody wants to fill our memory.
LONGEST_SILENCE = 8 * 1024 * 1024

_AMOUNT = re.compile(r"[0-9]{1,18}(\.[0-9]{0,5})?|\.[0-9]{1,5}")
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})([T+Z-].*)?")
_NO_REFERENCE = ("NONREF", "NOTPROVIDED", "NOT PROVIDED", "")
_WORDS = (
    "Refs/AcctSvcrRef",
    "Refs/EndToEndId",
    "Refs/InstrId",
    "Refs/PmtInfId",
    "Refs/TxId",
    "RmtInf/Ustrd",
    "RmtInf/Strd/CdtrRefInf/Ref",
    "RmtInf/Strd/AddtlRmtInf",
    "AddtlTxInf",
)

Fields = Mapping[str, Sequence[str]]


@dataclass(slots=True)
class Reader:
    """Reads one file. `account` is the one that it must be of, where somebody said so; `pending` counts the entries that are not
    booked yet and are left out, `statements` and `accounts` what it held."""

    account: str | None = None
    pending: int = 0
    statements: int = 0
    accounts: set[str] = field(default_factory=set)

    def lines(self, file: BinaryIO) -> Iterator[BankLine]:
        """The booked lines, in their order. Raises Unclear with the reason, at whichever line it shows: what was told until then
        is not the file, and only a walk to the end without an error is."""
        handler = _Handler(self)
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = handler.doctype
        parser.StartElementHandler = handler.start
        parser.EndElementHandler = handler.end
        parser.CharacterDataHandler = handler.text
        count = 0
        try:
            while chunk := file.read(CHUNK):
                handler.silence += len(chunk)
                parser.Parse(chunk, False)
                if handler.silence > LONGEST_SILENCE:
                    raise Unclear(f"nothing comes to its end in it for {LONGEST_SILENCE // 1024 // 1024} MiB")
                count += len(handler.made)
                if count > MOST_LINES:
                    raise Unclear(f"it holds more than {MOST_LINES:,} lines; ask your bank for a shorter time")
                yield from handler.taken()
            parser.Parse(b"", True)
        except expat.ExpatError as problem:
            words = expat.errors.messages[problem.code]
            raise Unclear(f"line {problem.lineno}: it is no whole XML: {words}") from None
        except Invalid as problem:
            raise Unclear(problem.message) from None
        yield from handler.taken()
        if not self.statements:
            raise Unclear("it holds no statement (Stmt)")


class _Handler:
    """Builds lines out of the elements of a statement."""

    def __init__(self, reader: Reader) -> None:
        self.made: list[BankLine] = []
        self.silence = 0
        self._reader = reader
        self._uri = ""
        self._path: list[str] = []
        self._text: list[str] = []
        self._size = 0
        self._statement: _Statement | None = None
        self._entry: _Entry | None = None

    def taken(self) -> list[BankLine]:
        made, self.made = self.made, []
        return made

    def doctype(self, *_: object) -> None:
        # No bank's file has one, and whoever declares entities wants to fill our memory or to read our files.
        raise Unclear("it declares a document type (DTD), which no statement does")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        uri, _, local = name.rpartition(" ")
        if not self._path:
            self._check_root(uri, local)
        if len(self._path) >= DEEPEST:
            raise Unclear(f"its elements lie more than {DEEPEST} deep")
        # What is of another namespace is an addition of somebody's, and none of our fields.
        self._path.append(local if uri == self._uri else "?")
        self._text = []
        self.silence = 0
        at = "/".join(self._path)
        if at == "Document/BkToCstmrStmt/Stmt":
            self._statement = _Statement()
        elif at == "Document/BkToCstmrStmt/Stmt/Ntry":
            self._entry, self._size = _Entry(), 0
        elif self._entry is not None:
            if self._path[4:] == ["NtryDtls", "TxDtls"]:
                if len(self._entry.details) == MOST_PAYMENTS:
                    raise Unclear(f"one of its entries holds more than {MOST_PAYMENTS:,} payments")
                self._entry.details.append(defaultdict(list))
            if local == "Amt":
                self._put(self._path[4:], "Amt@Ccy", attributes.get("Ccy", ""))
        elif self._statement is not None and local == "Amt":
            self._statement.currency = attributes.get("Ccy", "")

    def text(self, told: str) -> None:
        self._size += len(told)
        if self._size > LONGEST_ENTRY:
            raise Unclear(f"one of its entries is longer than {LONGEST_ENTRY // 1024 // 1024} MiB")
        self._text.append(told)

    def end(self, _: str) -> None:
        told = "".join(self._text).strip()
        self._text = []
        self.silence = 0
        path = self._path[3:]
        self._path.pop()
        if self._entry is None:
            self._size = 0
        if self._statement is None or "?" in path:
            return
        if self._entry is not None:
            if len(path) > 1:
                self._put(path[1:], path[-1], told)
            elif path == ["Ntry"]:
                self._close_entry(self._statement, self._entry)
                self._entry = None
        elif path:
            self._statement.take("/".join(path), told)
        else:
            self._statement.check()
            self._statement = None
            self._reader.statements += 1

    def _check_root(self, uri: str, local: str) -> None:
        if local != "Document" or uri not in {NAMESPACE + version for version in VERSIONS}:
            what = f"{local} of {uri[-40:]!r}" if uri else local
            raise Unclear(
                f"it begins with {what[:80]}, and is no CAMT.053 of a version from 001.02 to 001.08. Ask your bank for one: "
                "statements of the day (camt.053), not reports within the day (camt.052) or notes of single bookings (camt.054)"
            )
        self._uri = uri

    def _put(self, path: Sequence[str], name: str, told: str) -> None:
        """Keep a text under its path; of a payment within the entry under the path in there."""
        assert self._entry is not None
        within = list(path[:2]) == ["NtryDtls", "TxDtls"] and bool(self._entry.details)
        fields = self._entry.details[-1] if within else self._entry.fields
        where = [*path[2 if within else 0 : -1], name]
        if told:
            fields["/".join(where)].append(told)

    def _close_entry(self, statement: _Statement, entry: _Entry) -> None:
        reader = self._reader
        statement.number += 1
        where = f"entry {statement.number} of statement {statement.id or reader.statements + 1}"
        try:
            if _one(entry.fields, "Sts/Cd", "Sts") != "BOOK":
                reader.pending += 1
                return
            _check_account(statement.account, reader.account)
            reader.accounts.add(statement.account)
            self.made += statement.book(statement.account, entry)
        except (Unclear, Invalid) as problem:
            words = problem.message if isinstance(problem, Invalid) else str(problem)
            raise Unclear(f"{where}: {words}") from None


@dataclass(slots=True)
class _Entry:
    fields: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    details: list[defaultdict[str, list[str]]] = field(default_factory=list)


@dataclass(slots=True)
class _Statement:
    """What is known of the statement that is being read."""

    id: str = ""
    account: str = ""
    currency: str = ""
    number: int = 0
    booked: Decimal = Decimal(0)
    booked_in: set[str] = field(default_factory=set)
    balances: defaultdict[str, list[Money]] = field(default_factory=lambda: defaultdict(list))
    part: bool = False
    _balance: dict[str, str] = field(default_factory=dict)
    _keys: Keys = field(default_factory=Keys)

    def take(self, at: str, told: str) -> None:
        match at:
            case "Id":
                self.id = told[:40]
            case "Acct/Id/IBAN" | "Acct/Id/Othr/Id":
                self.account = account_of(told)
            case "StmtPgntn/LastPgInd":
                self.part = self.part or told != "true"
            case "Bal/Amt":
                self._balance |= {"amount": told, "currency": self.currency}
            case "Bal/CdtDbtInd":
                self._balance["side"] = told
            case "Bal/Tp/CdOrPrtry/Cd":
                self._balance["kind"] = told
            case "Bal/Tp/SubTp/Cd":
                self.part = True
            case "Bal":
                one, self._balance = self._balance, {}
                amount = _signed(one.get("amount", ""), one.get("currency", ""), one.get("side", ""))
                self.balances[one.get("kind", "")].append(amount)

    def book(self, account: str, entry: _Entry) -> list[BankLine]:
        """The lines of an entry: one, or one for each payment in it where these tell their amounts and come to its own."""
        amount = _signed(_one(entry.fields, "Amt"), _one(entry.fields, "Amt@Ccy"), _one(entry.fields, "CdtDbtInd"))
        self.booked += amount.amount
        self.booked_in.add(amount.currency)
        valued = _one(entry.fields, "ValDt/Dt", "ValDt/DtTm")
        valued_on = _day(valued, "ValDt") if valued else None
        # Both days may be left out, and some banks tell only from when on the money counts.
        told = _one(entry.fields, "BookgDt/Dt", "BookgDt/DtTm")
        booked_on = valued_on if not told and valued_on is not None else _day(told, "BookgDt")
        reference = _one(entry.fields, "AcctSvcrRef")
        reversal = _flag(_one(entry.fields, "RvslInd"), "RvslInd")
        parts = _parts(amount, entry.details)
        lines = []
        for money, details in parts:
            words = _words(entry.fields, details)
            # Those of a reversal are those of what it takes back.
            party = _party(details, credit=(amount.amount >= 0) is not reversal)
            if reference.upper() in _NO_REFERENCE:
                reference = ""
            key = self._keys.of(reference, words, party, booked_on, money)
            words = words[:LONGEST_WORDS]
            words = f"{words} {REVERSAL}".strip() if reversal else words
            lines.append(BankLine(account, key, booked_on, money, words, party, valued_on))
        return lines

    def check(self) -> None:
        """Raises Unclear where the account's balances say that entries are missing."""
        before = self.balances.get("OPBD") or self.balances.get("PRCD") or []
        after = self.balances.get("CLBD") or []
        if self.part or self.balances.keys() & {"ITBD"} or len(before) != 1 or len(after) != 1:
            return
        where = f"statement {self.id}" if self.id else "a statement"
        wrong = self.booked_in - {before[0].currency}
        if wrong or before[0].currency != after[0].currency:
            raise Unclear(f"{where} has balances in {before[0].currency} and bookings in {', '.join(sorted(wrong))}")
        if before[0].amount + self.booked != after[0].amount:
            missing = after[0].amount - before[0].amount - self.booked
            raise Unclear(
                f"{where}: the account held {before[0].amount} {before[0].currency}, the entries come to {self.booked}, and it "
                f"ends with {after[0].amount}: {missing} are missing"
            )


def _parts(amount: Money, details: Sequence[Fields]) -> list[tuple[Money, Sequence[Fields]]]:
    """The payments of an entry with their amounts, where all tell one and they come to the entry's; else the whole."""
    if len(details) > 1:
        told = [
            (one, _one(one, "Amt", "AmtDtls/TxAmt/Amt"), _one(one, "Amt@Ccy", "AmtDtls/TxAmt/Amt@Ccy"))
            for one in details
        ]
        if all(text and code == amount.currency for _, text, code in told):
            side = "DBIT" if amount.amount < 0 else "CRDT"
            split = [(_signed(text, code, _one(one, "CdtDbtInd") or side), one) for one, text, code in told]
            if sum((money.amount for money, _ in split), Decimal(0)) == amount.amount:
                return [(money, [one]) for money, one in split]
    return [(amount, details)]


def _words(entry: Fields, details: Sequence[Fields]) -> str:
    told = [each for one in details for path in _WORDS for each in one.get(path, ())]
    told += [*entry.get("AcctSvcrRef", ()), *entry.get("AddtlNtryInf", ())]
    clean = (" ".join(one.split()) for one in told)
    return " ".join(dict.fromkeys(one for one in clean if one.upper() not in _NO_REFERENCE))


def _party(details: Sequence[Fields], *, credit: bool) -> str | None:
    who = "Dbtr" if credit else "Cdtr"
    for one in details:
        if found := _one(one, f"RltdPties/{who}/Nm", f"RltdPties/{who}/Pty/Nm", f"RltdPties/Ultmt{who}/Nm"):
            return found[:140]
    return None


def _signed(amount: str, currency: str, side: str) -> Money:
    money = _amount(amount, currency)
    if side not in ("CRDT", "DBIT"):
        raise Unclear(f"CdtDbtInd is {side[:10]!r}, neither CRDT nor DBIT")
    return -money if side == "DBIT" else money


def _amount(told: str, currency: str) -> Money:
    if not _AMOUNT.fullmatch(told):
        raise Unclear(f"{told[:30]!r} is no amount")
    money = Money(Decimal(told), currency)
    if round(money.amount, minor_digits(currency)) != money.amount:
        raise Unclear(f"{told} has more decimals than {currency}")
    return money


def _flag(told: str, name: str) -> bool:
    """As XML Schema writes booleans; left out, it is false."""
    if told not in ("", "true", "1", "false", "0"):
        raise Unclear(f"{name} is {told[:10]!r}, neither true nor false")
    return told in ("true", "1")


def _day(told: str, name: str) -> date:
    found = _DAY.fullmatch(told)
    try:
        if found:
            return date.fromisoformat(found[1])
    except ValueError:
        pass
    raise Unclear(f"{name} is {told[:30]!r}, and no day")


def _check_account(account: str, wanted: str | None) -> None:
    if not account:
        raise Unclear("its account has neither an IBAN nor another id")
    if wanted is not None and account != account_of(wanted):
        raise Unclear(f"it is of the account {account}, and not of {wanted}")


def _one(fields: Fields, *paths: str) -> str:
    return next((fields[path][0] for path in paths if fields.get(path)), "")
