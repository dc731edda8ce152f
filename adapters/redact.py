"""What may be kept of a call: all that says what was done, nothing that opens a door, nothing that belongs to a buyer.

Headers are kept by name. Of bodies only JSON is kept that was read as JSON and written anew, without the members whose names, at
whatever depth, stand for secrets or people; what was left out of a request is left out wherever else the call repeats it.
Anything else (labels, flat files, XML, JSON that was cut, and all that a presigned address gives) is a size and a hash, but for
the words of an error that is a web page or plain text. A login keeps no body at all.

Of what changes something and of what failed all is kept, up to BODY_BYTES. A reading that went well tells the same a thousand
times a day: its first READING_BYTES are kept, and as they stand where every name in them is seen to be fine without reading them.

Sources: SP-API documentation, "Access Orders PII" and the Data Protection Policy (no personal data in logs); Shopify's
"protected customer data".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress, islice, repeat
from random import getrandbits
from typing import Any
from urllib.parse import quote, unquote

import orjson

from adapters.private import dialed
from adapters.transport import Spoken
from domain.exchange import Exchange, about_order, about_sku

REDACTED = "[redacted]"
BODY_BYTES = 32 * 1024
READING_BYTES = 4 * 1024
ERROR_CHARS = 2_000
WORDS = 200
SUBJECTS = 250
SUBJECT_CHARS = 200
FAILURE_CHARS = 100


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HEADERS = frozenset(
    {
        b"accept",
        b"content-length",
        b"content-type",
        b"date",
        b"retry-after",
        b"user-agent",
        b"x-amz-apigw-id",
        b"x-amz-date",
        b"x-amz-rid",
        b"x-amzn-errortype",
        b"x-amzn-fulfillment-service-id",
        b"x-amzn-idempotencykey",
        b"x-amzn-ratelimit-limit",
        b"x-amzn-requestid",
        b"x-amzn-shipping-business-id",
        b"x-amzn-trace-id",
        b"x-request-id",
        b"x-shopify-api-version",
    }
)

# Names are compared in small letters, without what is not a letter or a digit. These are left out wherever they occur in a name …
_WITHIN = _words(
    "accesscode accesskey accountattributes accountholder address apikey authorization birth buyer clientsecret contactdetail "
    "contactinfo contactname cookie credential customer customiz deliveryinstruction deliverynote deliverypreference email "
    "encodedcontent familyname firstname fullname giftmessage giftnote giftoption givenname lastname legalname licenseplate "
    "lockerdetail lockernumber oauthcode ordernote passw personname phone postalcode postcode privatekey recipient secret "
    "shipto signature signedby surname taxid taxreg token vatid vatnumber zipcode"
)
# … and these where they are the whole name: people, where they live, what they wrote, and documents that show all of it.
_WHOLE = _words(
    "addressee browserip city clientdetails clientip companyname consignee contact contacts content contents county "
    "customattributes deliveryphotourl displayablecomment displayableordercomment district districtorcounty document "
    "documentdownload dropofflocation extendedfields filecontents giftattributes housenumber ip latitude line1 line2 "
    "line3 lineitemtext longitude municipality neighborhood neighborname nonlatinname note noteattributes notes ordertext "
    "otp otpdetails primarycontact reasoncomment receivedby receiver returncomment returnto rmapageurl shippernote "
    "shippingnotes signedforby street streetname streetnumber zip"
)
# What only sounds like it: counts, kinds, and tokens that name a page.
_HARMLESS = _words(
    "addresstype customerdamagedquantity customertype isbuyerrequestedcancel nextpagetoken nexttoken "
    "nexttokenforlineitems pagetoken paginationtoken pendingcustomerorder pendingcustomerorderintransit "
    "pendingcustomerorderquantity previoustoken signatureconfirmation"
)
# What is a person's beside a member that was left out for being one's address, phone or the like.
_BESIDE = _words(
    "company countrycode displayname locality name province provincecode region state stateorprovincecode stateorregion"
)
_ORDER, _SKU, _FEED, _REPORT = about_order(""), about_sku(""), "feed:", "report:"
_SUBJECTS = {
    "amazonorderid": _ORDER,
    "customerorderid": _ORDER,
    "displayableorderid": _ORDER,
    "orderid": _ORDER,
    "sellerfulfillmentorderid": _ORDER,
    "sellerorderid": _ORDER,
    "msku": _SKU,
    "sellersku": _SKU,
    "sellerskus": _SKU,
    "sku": _SKU,
    "feedid": _FEED,
    "reportid": _REPORT,
    "queryid": "query:",
    "shipmentid": "shipment:",
}
# What pages of a reading name, as the platforms spell it.
_NAMED = tuple(
    (re.compile(rb'"%b"\s*:\s*("[^"\\]*")' % name), kind)
    for name, kind in (
        (b"orderId", _ORDER),
        (b"sellerSku", _SKU),
        (b"sku", _SKU),
        (b"feedId", _FEED),
        (b"reportId", _REPORT),
    )
)
_MARK = b"\xef\xbb\xbf"  # some begin UTF-8 with it
# A name within a text, as JSON that holds JSON writes it.
_QUOTED_NAMES = (b'\\":', b'\\" :', b"\\u0022")
_QUOTED_NAME = re.compile(r'"\s*:')
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKET = bytes(one for one in range(256) if one not in b"{}[]")
# What a presigned address is asked for, whatever its signature is called.
_FILES = frozenset({"download", "upload"})
_SHOP_ORDER = "gid://shopify/Order/"
# Parts of an Amazon path that name what it is about: …/orders/{id}, …/items/{seller}/{sku}.
_PATHS = (
    (re.compile(r"/(?:v\d+|\d{4}-\d\d-\d\d)/(?:orders|fulfillmentOrders)/([^/?]+)"), _ORDER),
    (re.compile(r"/items/[^/?]+/([^/?]+)"), _SKU),
    (re.compile(r"/feeds/([^/?]+)$"), _FEED),
    (re.compile(r"/reports/([^/?]+)$"), _REPORT),
    (re.compile(r"/queries/([^/?]+)$"), "query:"),
)

# What is known by its form, wherever it stands: tokens of both platforms, e-mail addresses, signatures in addresses.
_SECRETS = re.compile(
    r"At(?:z[a-z]|c)(?:\||%7[Cc])[^\s\"'<>&,;\\]+"
    r"|amzn1\.oa2-cs\.[\w.-]+"
    r"|shp[a-z]{2}_\w+"
    r"|[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<=\?)[^\s\"'<>]*(?:X-Amz-|[Ss]ignature=)[^\s\"'<>\\]*"
)

# What a telephone number is written with; all of it is one only where there are digits enough.
_PHONE = re.compile(r"\+?[\d\s()./-]+")

# Verdicts over names, remembered: most calls use the same few.
_DROP, _ID = "drop", "id"
_VERDICTS: dict[str, str] = {}
_FINE: set[str] = set()
_MOST_NAMES = 20_000
_NESTS = {dict, list}
# The same over names as they stand in JSON without a backslash.
_FINE_RAW: set[bytes] = set()
# What JSON has outside of its texts, but for three words, which lose their "e" with the numbers.
_STRUCTURE = b"{}[]:,0123456789.+-eE \t\r\n"
_REST = re.compile(rb"(?:tru|fals|null)*")
_BEFORE_VALUE = re.compile(rb"[ \t\r\n]:")
# What tells that a call did not go well although its status does not.
_UNWELL = frozenset({b"errors", b"userErrors"})


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _judge(name: str) -> str | None:
    """What becomes of a member of this name: it is left out (_DROP), may tell a subject (_ID), tells one of the kind that is
    answered, or is fine (None)."""
    if name in _FINE:
        return None
    if (known := _VERDICTS.get(name)) is not None:
        return known
    if len(_FINE) + len(_VERDICTS) >= _MOST_NAMES:
        _FINE.clear()
        _FINE_RAW.clear()
        _VERDICTS.clear()
    plain = _letters(name)
    verdict = _SUBJECTS.get(plain)
    if verdict is None and plain not in _HARMLESS:
        if plain in _WHOLE or any(part in plain for part in _WITHIN):
            verdict = _DROP
        elif plain == "id":
            verdict = _ID
    if verdict is None:
        _FINE.add(name)
    else:
        _VERDICTS[name] = verdict
    return verdict


def _without_secrets(words: str) -> str:
    """A text without what is known by its form. The expression is slow, and most texts have nothing that it could find."""
    if (
        "@" in words
        or "Atz" in words
        or "Atc" in words
        or "amzn1.oa2-cs" in words
        or ("=" in words and ("X-Amz-" in words or "ignature=" in words))
        or ("_" in words and "shp" in words)
    ):
        return _SECRETS.sub(REDACTED, words)
    return words


@dataclass(slots=True)
class _Kept:
    """What is being found out about one call: its subjects, in order, and the words that were left out of its request."""

    subjects: dict[str, None]
    gone: set[str] = field(default_factory=set)

    def note(self, kind: str, value: object) -> None:
        """Note what a member says the call is about."""
        told = [
            f"{kind}{one}"[:SUBJECT_CHARS]
            for one in (value if type(value) is list else (value,))
            if (type(one) is str or type(one) is int) and one != ""
        ]
        if len(self.subjects) + len(told) > SUBJECTS:
            new = (one for one in dict.fromkeys(told) if one not in self.subjects)
            told = list(islice(new, SUBJECTS - len(self.subjects)))
        self.subjects.update(dict.fromkeys(told))

    def scrub(self, words: str) -> str:
        """A text without secrets, without addresses of buyers, and without what was left out of the request."""
        words = _without_secrets(words)
        if self.gone:
            # Addresses are told again in capitals.
            small = words.lower()
            for one in sorted(self.gone, key=len, reverse=True):
                if one.lower() in small:
                    words = _again(one).sub(REDACTED, words)
                if _PHONE.fullmatch(one) and (number := dialed(one)) is not None:
                    words = re.sub(rf"(?<![\w.:\[,-]){number}(?![\w.-])", REDACTED, words)
        return words


@dataclass(slots=True)
class _Body:
    """One body on its way: parsed, where it is JSON that may be looked into, or the text of such JSON of which nothing has to go
    (`plain`); `cut`: only its first part. `dirty`: something in it has to go."""

    raw: bytes
    plain: str | None = None
    parsed: Any = None
    json: bool = False
    cut: bool = False
    dirty: bool = False

    @classmethod
    def of(cls, raw: bytes | None, kept: _Kept, *, opaque: bool, ours: bool = False, whole: bool = True) -> _Body:
        """Read it, unless it is `opaque`, and note its subjects and what has to go. `ours` is what we have said; of what is not
        wanted `whole`, only the first part is read."""
        body = cls(raw or b"")
        told = body.raw.removeprefix(_MARK)
        if not opaque and told[:8].lstrip()[:1] in (b"{", b"["):
            part = told if whole else _beginning(told)
            cut = part is not told
            if cut and not kept.subjects:
                # What the rest names is noted where the call has not told before what it is about.
                for pattern, kind in _NAMED:
                    kept.note(kind, [orjson.loads(one) for one in pattern.findall(told)])
            if (cut or len(told) <= READING_BYTES) and not whole:
                body.plain = _plain(part, kept, cut=cut)
                if body.plain is not None:
                    body.json, body.cut = True, cut
                    return body
            body.parsed = _ended(part) if cut else None
            body.cut = body.parsed is not None
            try:
                body.parsed = body.parsed or orjson.loads(told)
            except orjson.JSONDecodeError:
                return body
            body.json = True
            looked_at = told[:READING_BYTES] if body.cut else told
            if any(one in looked_at for one in _QUOTED_NAMES):
                _unfold(body.parsed)
            body.dirty = _scan(body.parsed, kept, ours=ours)
        return body


def redacted(spoken: Spoken, *, bodies: bool = True) -> Exchange:
    """What may be kept of a call. Without `bodies` only their sizes are, and what they say the call was about."""
    made, kept = spoken.made, _Kept(dict.fromkeys(spoken.made.call.about))
    signed = made.call.operation in _FILES or "X-Amz-" in spoken.url or "ignature=" in spoken.url
    silent = _logs_in(spoken)
    path = _path(spoken.url, kept, signed)
    well = made.failure is None and made.status is not None and made.status < 400
    sent = _Body.of(spoken.sent, kept, opaque=silent or signed, ours=True)
    received = _Body.of(spoken.received, kept, opaque=silent or signed, whole=spoken.write or not well)
    failure = _failure(spoken, received)
    request = response = None
    if bodies and not silent:
        request = _text(sent, spoken.request_headers, kept, error=False)
        response = _text(received, spoken.response_headers, kept, error=not well and not signed)
    return Exchange(
        id=getrandbits(63),  # unique is all that it has to be
        at=datetime.fromtimestamp(spoken.at, UTC),
        channel=made.call.channel,
        operation=made.call.operation,
        method=made.method,
        path=path.replace("\0", ""),
        status=made.status,
        upstream_request_id=made.request_id,
        seconds=made.seconds,
        waited_s=made.call.waited_s,
        failure=failure and kept.scrub(failure)[:FAILURE_CHARS],
        subjects=_without_nulls(kept.subjects),
        request_headers=_headers(spoken.request_headers),
        response_headers=_headers(spoken.response_headers),
        request=request,
        response=response,
        request_bytes=len(spoken.sent or b""),
        response_bytes=len(spoken.received or b""),
    )


def _without_nulls(words: Collection[str]) -> tuple[str, ...]:
    """PostgreSQL takes none; they are as rare as the look for them is frequent."""
    return tuple(one.replace("\0", "") for one in words) if "\0" in "".join(words) else tuple(words)


def _logs_in(spoken: Spoken) -> bool:
    """Whether a credential is exchanged for a token. Only that is asked for with a form."""
    return spoken.made.call.operation == "login" or b"x-www-form-urlencoded" in _content_type(spoken.request_headers)


def _content_type(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    return next((value.lower() for name, value in headers if _header(name) == "content-type"), b"")


def _headers(headers: Sequence[tuple[bytes, bytes]]) -> str:
    lines = [f"{told}: {value.decode('latin-1')}" for name, value in headers if (told := _header(name))]
    return "\n".join(lines).replace("\0", "")


@lru_cache(maxsize=1_000)
def _header(name: bytes) -> str | None:
    """The name of a header that is kept; None for any other."""
    return name.lower().decode() if name.lower() in HEADERS else None


def _path(url: str, kept: _Kept, signed: bool) -> str:
    """Path and query, without values that may not be kept."""
    whole = url.partition("://")[2]
    path, _, query = whole[whole.find("/") :].partition("?") if "/" in whole else ("/", "", "")
    for pattern, word in _PATHS:
        if (found := pattern.search(path)) is not None:
            kept.note(word, unquote(found.group(1)))
    path = _encoded(path, kept)
    if not query:
        return path
    return f"{path}?{REDACTED}" if signed else f"{path}?{'&'.join(_parameters(query, kept))}"


def _parameters(query: str, kept: _Kept) -> Iterator[str]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        verdict = _judge(unquote(name) if "%" in name else name)
        if verdict == _DROP:
            yield f"{name}={REDACTED}"
            continue
        if verdict is not None and verdict != _ID:
            # Items are encoded one by one and joined with commas: a SKU may hold a comma.
            items = value.split(",")
            kept.note(verdict, [unquote(one) for one in items] if "%" in value else items)
        yield f"{_encoded(name, kept)}={_encoded(value, kept)}"


def _encoded(part: str, kept: _Kept) -> str:
    """A percent-encoded part of an address; as it was, where nothing has to go."""
    told = unquote(part) if "%" in part else part
    return part if (clean := kept.scrub(told)) == told else quote(clean)


def _scan(root: Any, kept: _Kept, *, ours: bool) -> bool:
    """Note the subjects in what was parsed, and the words to be left out of `ours`. Answers whether anything has to go.

    Nearly all the time that redacting takes is spent here, so that what is fine is passed by as quickly as it can be.
    """
    dirty, fine, nests = False, _FINE, _NESTS
    waiting: list[Any] = [root]
    add = waiting.append
    for value in waiting:
        if type(value) is list:
            for one in value:
                if type(one) in nests:
                    add(one)
            continue
        for name, member in value.items():
            if name in fine:
                if type(member) in nests:
                    add(member)
                continue
            verdict = _judge(name)
            if verdict == _DROP:
                dirty = True
                if ours:
                    kept.gone.update(islice(_worth_hiding(member), WORDS - len(kept.gone)))
                continue
            if type(member) in nests:
                add(member)
            if verdict == _ID:
                if type(member) is str and member.startswith(_SHOP_ORDER):
                    kept.note(_ORDER, member)
            elif verdict is not None:
                kept.note(verdict, member)
    return dirty


def _unfold(root: Any) -> None:
    """Put what texts hold as JSON in their place. Of a text that holds JSON and is none, all from its first bracket on goes."""
    waiting = [root]
    for value in waiting:
        for at, member in list(value.items() if type(value) is dict else enumerate(value)):
            if type(member) is str:
                value[at] = member = _unfolded(member)
            if type(member) in _NESTS:
                waiting.append(member)


def _unfolded(words: str) -> Any:
    while _QUOTED_NAME.search(words):
        try:
            found = orjson.loads(words)
        except orjson.JSONDecodeError:
            begin = re.search(r'[{\[]|"[^"]*"\s*:', words)
            return words if begin is None else words[: begin.start()] + REDACTED
        if type(found) is not str:
            return found
        words = found
    return words


def _plain_words(raw: bytes) -> str | None:
    """The words of an error, if it is a web page or plain text: in nothing else can be told what belongs to a buyer."""
    words = raw.decode("utf-8", "replace").replace("\0", "").lstrip("\ufeff \t\r\n")
    markup = words.startswith("<") and re.match(r"<(!doctype )?html", words, re.IGNORECASE) is None
    return None if markup or words[:1] in ("{", "[", '"') or _QUOTED_NAME.search(words) else words


def _beginning(raw: bytes) -> bytes:
    """The beginning of a long JSON text, cut between two objects; all of one that is short, or not to be cut.

    Reading all of it only to keep little would take ten times as long.
    """
    ends = raw[:READING_BYTES], raw[-READING_BYTES:]
    # A shop says beside the data what is wrong with them.
    if len(raw) <= READING_BYTES or any(b'"errors"' in one for one in ends) or (cut := ends[0].rfind(b"},{")) < 0:
        return raw
    return raw[: cut + 1]


def _plain(part: bytes, kept: _Kept, *, cut: bool) -> str | None:
    """JSON of a reading that went well, or its beginning, that may be kept as it stands; None where something may have to go, or
    where that cannot be told without reading it. Notes its subjects.

    Most of what is read all day is of this kind. Without a backslash every quote begins or ends a text, so names can be told
    apart from all else without parsing, which costs thrice as much.
    """
    if b"\\" in part or b"\0" in part or b'"INVALID"' in part:
        return None
    pieces = part.split(b'"')
    outside = b"".join(pieces[::2])
    if not cut and not (
        len(pieces) % 2 and outside.count(b"{") == outside.count(b"}") and outside.count(b"[") == outside.count(b"]")
    ):
        return None
    if _BEFORE_VALUE.search(outside) or _REST.fullmatch(outside.translate(None, _STRUCTURE)) is None:
        return None
    names = set(compress(pieces[1::2], map(bytes.startswith, pieces[2::2], repeat(b":"))))
    try:
        verdicts = [(name, verdict) for name in names - _FINE_RAW if (verdict := _judge_raw(name)) is not None]
        text = part.decode()
    except UnicodeDecodeError:
        return None
    if not names.isdisjoint(_UNWELL) or any(verdict == _DROP for _, verdict in verdicts):
        return None
    for name, verdict in sorted(verdicts, key=lambda one: part.index(b'"%b"' % one[0])):
        told = [one.decode() for found in _value_of(name).findall(part) for one in _values(*found)]
        if verdict == _ID:
            verdict, told = _ORDER, [one for one in told if one.startswith(_SHOP_ORDER)]
        kept.note(verdict, told)
    return text


def _judge_raw(name: bytes) -> str | None:
    """As `_judge`, of a name as it stands in JSON. Raises UnicodeDecodeError."""
    verdict = _judge(name.decode())
    if verdict is None:
        _FINE_RAW.add(name)
    return verdict


@lru_cache(maxsize=1_000)
def _value_of(name: bytes) -> re.Pattern[bytes]:
    """What stands behind a name: a text, a whole number, or a list."""
    return re.compile(rb'"%b":\s*(?:"([^"]*)"|(-?\d+)(?![\d.eE])|\[([^\]]*)\])' % re.escape(name))


def _values(text: bytes, number: bytes, items: bytes) -> Iterator[bytes]:
    if items:
        yield from items.split(b'"')[1::2]
    elif text or number:
        yield text or number


def _ended(part: bytes) -> Any | None:
    """The beginning of a JSON text as if it ended there; None where that cannot be told."""
    found = _closed(part, part)
    # Brackets within its texts mostly come in pairs; where they do not, it is looked at without its texts.
    return _closed(part, b"".join(_STRINGS.split(part))) if found is None else found


def _closed(part: bytes, brackets: bytes) -> Any | None:
    """The beginning of a JSON text as if it ended there; None where the brackets of `brackets` are not those to be closed."""
    open_: list[int] = []
    for bracket in brackets.translate(None, _NO_BRACKET):
        if bracket in b"{[":
            open_.append(bracket)
        elif open_:
            open_.pop()
    try:
        return orjson.loads(part + bytes(one + 2 for one in reversed(open_)))  # } and ] come two after { and [
    except orjson.JSONDecodeError:
        return None


def _again(word: str) -> re.Pattern[str]:
    """Where a word stands again: a short one or a number only by itself, and no number of JSON."""
    if len(word) > 4 and not word.isdigit():
        return re.compile(re.escape(word), re.IGNORECASE)
    return re.compile(rf"(?<![\w.:\[,-]){re.escape(word)}(?![\w.-])", re.IGNORECASE)


def _worth_hiding(member: Any) -> Iterator[str]:
    """The words within what is left out that would be known again elsewhere: no codes of countries, no counts."""
    waiting = [member]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting += value.values()
        elif type(value) is list:
            waiting += value
        elif (
            type(value) is str and len(value) > (4 if value.isdigit() else 2) and value.lower() not in ("true", "false")
        ):
            yield value
            if (written := orjson.dumps(value)[1:-1].decode()) != value:
                yield written


def _text(body: _Body, headers: Sequence[tuple[bytes, bytes]], kept: _Kept, *, error: bool) -> str | None:
    """What is kept of a body, as text of at most BODY_BYTES and a word about the rest."""
    raw = body.raw
    if not raw:
        return None
    if not body.json:
        if error and (words := _plain_words(raw)) is not None:
            return kept.scrub(words)[:ERROR_CHARS]
        kind = _content_type(headers).decode("latin-1") or "no content type"
        return f"[{len(raw)} bytes, {kind}, sha256 {hashlib.sha256(raw).hexdigest()}]".replace("\0", "")
    if body.plain is not None:
        return kept.scrub(body.plain) + (f"… [cut, {len(raw)} bytes]" if body.cut else "")
    try:
        # Written anew, so that nothing is kept that was not seen: a name may stand there twice.
        told = orjson.dumps(_clean(body.parsed) if body.dirty else body.parsed)
    except (RecursionError, orjson.JSONEncodeError):
        return f"[{len(raw)} bytes of JSON that nests too deep]"
    text = kept.scrub(told.decode())
    return f"{text[:BODY_BYTES]}… [cut, {len(raw)} bytes]" if body.cut or len(text) > BODY_BYTES else text


def _clean(value: Any) -> Any:
    """A copy of what was parsed without the members that are left out."""
    if type(value) is list:
        return [_clean(one) for one in value]
    if type(value) is not dict:
        return value
    gone = {name for name in value if _judge(name) == _DROP}
    beside = any(map(_personal, gone))
    return {
        name: _left_out(member) if name in gone or (beside and _letters(name) in _BESIDE) else _clean(member)
        for name, member in value.items()
    }


def _personal(name: str) -> bool:
    plain = _letters(name)
    return plain in ("city", "street", "zip") or any(
        part in plain
        for part in ("addressline", "address1", "postal", "zipcode", "phone", "email", "firstname", "lastname")
    )


def _left_out(member: Any) -> Any:
    return None if member is None else REDACTED


def _failure(spoken: Spoken, received: _Body) -> str | None:
    """Why the call did not go well: what became of the connection, else the platform's own code, else the status."""
    made = spoken.made
    if made.status is None or made.failure is not None:
        return made.failure
    told = received.parsed if isinstance(received.parsed, dict) else {}
    if made.status >= 400:
        return _code(told.get("errors")) or f"HTTP {made.status}"
    if told.get("status") == "INVALID":  # Listings Items: taken in, and not carried out
        return "INVALID"
    if told.get("errors"):
        return _code(told["errors"]) or "ERRORS"
    data = told.get("data")
    for answer in data.values() if isinstance(data, dict) else ():
        if isinstance(answer, dict) and answer.get("userErrors"):
            return _code(answer["userErrors"]) or "USER_ERRORS"
    return None


def _code(errors: Any) -> str | None:
    """The code of the first of a list of errors; Shopify's stands in its `extensions`."""
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return None
    extensions = first.get("extensions")
    code = first.get("code") or (extensions.get("code") if isinstance(extensions, dict) else None)
    return code.replace("\0", "") if isinstance(code, str) and code else None
