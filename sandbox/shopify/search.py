"""The platform's search syntax (`query:` arguments): terms, AND, OR, NOT, parentheses, comparators, prefixes.

Two traps are kept, for adapters fall into both: an unquoted timestamp is read as several fields, and an unknown field
fails nothing but filters nothing either; only `extensions.search` tells.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["string", "time", "id", "number", "words"]
TOKEN = re.compile(
    r"""\s*(?:
      (?P<open>\() | (?P<close>\)) |
      (?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") |
      (?P<colon>:) |
      (?P<op>>=|<=|>|<) |
      (?P<bare>[^\s():'"<>]+) |
      (?P<stray>['"])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Field:
    """A searchable field: how its text is read, how a row answers it (one value or several), how to look rows up."""

    kind: Kind
    of: Callable[[Any], Any]
    find: Callable[[str], Iterable[int]] | None = None


Fields = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Term:
    field: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Group:
    word: Literal["and", "or", "not"]
    parts: tuple["Query", ...]


Query = Term | Group


@dataclass(slots=True)
class Search:
    """A parsed query: does a row match, which rows can match at all, and what the platform would warn of."""

    text: str
    fields: Fields
    tree: Query | None = None
    warnings: list[dict[str, str]] = field(default_factory=list)
    matches: Callable[[Any], bool] = lambda row: True

    def candidates(self) -> set[int] | None:
        """Keys of the only rows that can match, where an index tells; None: look at all."""
        return None if self.tree is None else _candidates(self.tree, self.fields)

    def lower_bound(self, name: str) -> datetime | None:
        """The time below which the query takes no row by `name`, where it says so on every branch."""
        return None if self.tree is None else _lower_bound(self.tree, name)

    def report(self, path: list[str | int]) -> dict[str, Any] | None:
        if not self.warnings:
            return None
        parsed = {} if self.tree is None else _parsed(self.tree)
        return {"path": path, "query": self.text, "parsed": parsed, "warnings": self.warnings}


def parse(text: str | None, fields: Fields, now: datetime) -> Search:
    """Never fails: what cannot be read is left out of the filter, with a warning."""
    search = Search(text or "", fields)
    if not (text or "").strip():
        return search
    search.tree = _Parser(text or "").query()
    _warn(search.tree, fields, search.warnings)
    if search.tree is not None:
        search.matches = _compile(search.tree, fields, now)
    return search


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = [
            (kind, match.group(kind))
            for match in TOKEN.finditer(text)
            if (kind := match.lastgroup) is not None and kind != "stray"
        ]
        self.at = 0

    def query(self) -> Query | None:
        parts = []
        while self.at < len(self.tokens):
            part = self.any_of()
            if part is not None:
                parts.append(part)
            else:
                self.at += 1  # A parenthesis that closes nothing.
        return _group("and", parts)

    def any_of(self) -> Query | None:
        parts = [self.all_of()]
        while self.word() == "OR":
            self.at += 1
            parts.append(self.all_of())
        return _group("or", [part for part in parts if part is not None])

    def all_of(self) -> Query | None:
        parts = []
        while self.kind() not in ("", "close") and self.word() != "OR":
            if self.word() == "AND":
                self.at += 1
                continue
            part = self.one()
            if part is not None:
                parts.append(part)
        return _group("and", parts)

    def one(self) -> Query | None:
        kind, text = self.tokens[self.at]
        self.at += 1
        if kind == "open":
            inner = self.any_of()
            if self.kind() == "close":
                self.at += 1
            return inner
        if text == "NOT":
            part = self.one() if self.kind() not in ("", "close") else None
            return None if part is None else Group("not", (part,))
        if kind == "bare" and text.startswith("-") and len(text) > 1:
            self.tokens[self.at - 1] = (kind, text[1:])
            self.at -= 1
            part = self.one()
            return None if part is None else Group("not", (part,))
        if kind == "bare" and self.kind() == "colon":
            self.at += 1
            return self.comparison(text)
        return Term("", "=", _unquoted(text)) if kind in ("bare", "quoted") else None

    def comparison(self, name: str) -> Term:
        operator = "="
        if self.kind() == "op":
            operator = self.tokens[self.at][1]
            self.at += 1
        value = ""
        if self.kind() in ("bare", "quoted"):
            value = self.tokens[self.at][1]
            self.at += 1
            if self.kind() == "colon":
                # `12:00:00Z` unquoted: what follows the colon is read as a field of its own.
                self.at += 1
        return Term(name, operator, value if value[:1] in "'\"" and value else value.replace("\\", ""))

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def word(self) -> str:
        kind = self.kind()
        return self.tokens[self.at][1] if kind == "bare" else ""


def _group(word: Literal["and", "or"], parts: list[Query]) -> Query | None:
    if len(parts) <= 1:
        return parts[0] if parts else None
    return Group(word, tuple(parts))


def _unquoted(text: str) -> str:
    if text[:1] in ("'", '"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _warn(tree: Query | None, fields: Fields, warnings: list[dict[str, str]]) -> None:
    if isinstance(tree, Group):
        for part in tree.parts:
            _warn(part, fields, warnings)
    elif isinstance(tree, Term) and tree.field and tree.field not in fields:
        warnings.append(
            {"field": tree.field, "message": "Invalid search field for this query.", "code": "invalid_field"}
        )


def _parsed(tree: Query) -> dict[str, Any]:
    if isinstance(tree, Group):
        inner = [_parsed(part) for part in tree.parts]
        return {tree.word: inner[0] if tree.word == "not" else inner}
    value = _unquoted(tree.value)
    if not tree.field:
        return {"match_all": value}
    if tree.operator == "=":
        return {"field": tree.field, "match_all": value}
    names = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}
    return {"field": tree.field, "range": {names[tree.operator]: value}}


def _compile(tree: Query, fields: Fields, now: datetime) -> Callable[[Any], bool]:
    if isinstance(tree, Term):
        return _term(tree, fields, now)
    if tree.word == "not":
        inner = _compile(tree.parts[0], fields, now)
        return lambda row: not inner(row)
    if tree.word == "or":
        return _either(tree, fields, now)
    tests = [_compile(part, fields, now) for part in tree.parts]
    return lambda row: all(test(row) for test in tests)


def _either(tree: Group, fields: Fields, now: datetime) -> Callable[[Any], bool]:
    """Alternatives; many plain values of one field (250 SKUs) become one look into a set."""
    sets: dict[str, set[str]] = {}
    tests: list[Callable[[Any], bool]] = []
    for part in tree.parts:
        if isinstance(part, Term) and _plain(part, fields):
            sets.setdefault(part.field, set()).add(_unquoted(part.value).lower())
        else:
            tests.append(_compile(part, fields, now))
    tests += [_in_set(fields[name], values) for name, values in sets.items()]
    return lambda row: any(test(row) for test in tests)


def _in_set(field_: Field, values: set[str]) -> Callable[[Any], bool]:
    return lambda row: any(str(value).lower() in values for value in _values(field_, row))


def _plain(term: Term, fields: Fields) -> bool:
    known = fields.get(term.field)
    return known is not None and known.kind == "string" and term.operator == "=" and not term.value.endswith("*")


def _values(field_: Field, row: Any) -> tuple[Any, ...]:
    value = field_.of(row)
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(value)
    return () if value is None else (value,)


def _term(term: Term, fields: Fields, now: datetime) -> Callable[[Any], bool]:
    known = fields.get(term.field or "default")
    wanted = _unquoted(term.value)
    if known is None:
        return lambda row: True
    if known.kind == "words":
        words = wanted.lower().rstrip("*")
        return lambda row: any(words in str(text).lower() for text in _values(known, row))
    if known.kind == "string":
        return _string(known, term, wanted)
    bound = _bound(known.kind, wanted, now)
    if bound is None:
        return lambda row: True  # Unreadable, so nothing is filtered: the trap of the unquoted timestamp.
    compare = _COMPARE[term.operator]
    return lambda row: any(compare(value, bound) for value in _values(known, row))


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    ">": lambda a, b: bool(a > b),
    "<": lambda a, b: bool(a < b),
    ">=": lambda a, b: bool(a >= b),
    "<=": lambda a, b: bool(a <= b),
}


def _string(known: Field, term: Term, wanted: str) -> Callable[[Any], bool]:
    if wanted == "*":
        return lambda row: bool(_values(known, row))
    if wanted.endswith("*"):
        start = wanted[:-1].lower()
        return lambda row: any(str(value).lower().startswith(start) for value in _values(known, row))
    # `status:open,closed` means either; a quoted comma is a comma.
    quoted = term.value[:1] in ("'", '"')
    return _in_set(known, {wanted.lower()} if quoted else set(wanted.lower().split(",")))


def _bound(kind: Kind, text: str, now: datetime) -> Any:
    try:
        if kind == "time":
            return when(text, now)
        if kind == "id":
            return int(text.rpartition("/")[2])
        return float(text)
    except ValueError:
        return None


def when(text: str, now: datetime) -> datetime:
    """Reads a full timestamp, a date, or `now`; a missing zone is UTC. Raises ValueError."""
    if text.lower() == "now":
        return now
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d", text):
        raise ValueError(text)  # The stump of an unquoted timestamp; Python would read it.
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _candidates(tree: Query, fields: Fields) -> set[int] | None:
    if isinstance(tree, Term):
        known = fields.get(tree.field)
        if known is None or known.find is None or tree.operator != "=" or tree.value.endswith("*"):
            return None
        return set(known.find(_unquoted(tree.value)))
    if tree.word == "not":
        return None
    inner = [_candidates(part, fields) for part in tree.parts]
    if tree.word == "and":
        return min((keys for keys in inner if keys is not None), key=len, default=None)
    if any(keys is None for keys in inner):
        return None
    return {key for keys in inner if keys is not None for key in keys}


def _lower_bound(tree: Query, name: str) -> datetime | None:
    if isinstance(tree, Term):
        if tree.field != name or tree.operator not in (">", ">="):
            return None
        try:
            return when(_unquoted(tree.value), datetime.max.replace(tzinfo=UTC))
        except ValueError:
            return None
    inner = [_lower_bound(part, name) for part in tree.parts]
    known = [bound for bound in inner if bound is not None]
    if tree.word == "and":
        return max(known, default=None)
    return min(known) if tree.word == "or" and len(known) == len(inner) else None
