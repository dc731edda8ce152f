"""Documents: read whole or not at all, in little memory, in the right letters; put where they belong."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from itertools import pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.amazon import documents
from adapters.amazon.client import Client
from adapters.amazon.documents import Expired, decoded, download, upload
from adapters.amazon.plans import PLANS
from adapters.amazon.reports import Address
from adapters.gzipped import PIECE, RATIO_FROM, Unpacking
from adapters.transport import Call, Made, NothingSent, Transport
from adapters.wire import Unclear
from domain.budget import Ask
from domain.errors import HouseError, Refused, Transient
from tests.adapters.amazon.bench import Desk, Line, Sandbox

URL = "https://store.test/_documents/D1?X-Amz-Expires=300&X-Amz-Signature=a%2Bb%3D"
TEXT = "".join(f"SKU-{number}\t{number * 7919 % 1000}\n" for number in range(20_000)).encode()


def client_of(desk: Desk) -> Client:
    return Client(desk.config, PLANS, desk.transport, desk.tokens, desk.budgets)


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, and may end with an error of the wire."""

    def __init__(self, *pieces: bytes, end: Exception | None = None) -> None:
        self._pieces, self._end = pieces, end

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._end is not None:
            raise self._end


def stored(*pieces: bytes, end: Exception | None = None, **headers: str) -> httpx.Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers=told, stream=Pieces(*pieces, end=end))


def cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


async def got(desk: Desk, *, gzipped: bool = False, ask: Ask | None = None) -> bytes:
    return b"".join([chunk async for chunk in download(client_of(desk), URL, gzipped=gzipped, ask=ask or Ask())])


async def refused(desk: Desk, kind: type[HouseError], *, gzipped: bool = False) -> str:
    with pytest.raises(kind) as caught:
        await got(desk, gzipped=gzipped)
    assert "Signature" not in str(caught.value)
    return str(caught.value)


async def test_a_document_is_fetched_by_its_address_alone(desk: Desk, line: Line) -> None:
    line.answers.append(stored(*cut(TEXT, 1000)))
    ask = Ask()
    assert await got(desk, ask=ask) == TEXT
    (request,) = line.calls
    assert (request.method, str(request.url)) == ("GET", URL)
    assert line.logins == []
    assert not [name for name in request.headers if name.startswith("x-amz") or name == "authorization"]
    assert request.headers["accept-encoding"] == "identity"
    assert ask.bill.lines[desk.channel, "download"].calls == 1


async def test_a_packed_document_is_unpacked_once_whoever_says_that_it_is_packed(desk: Desk, line: Line) -> None:
    packed = gzip.compress(TEXT)
    for gzipped, encoding in ((True, "identity"), (True, "gzip"), (False, "gzip")):
        line.answers.clear()
        line.answers.append(stored(*cut(packed, 700), content_encoding=encoding))
        assert await got(desk, gzipped=gzipped) == TEXT


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400_000), st.integers(1, 70_000), st.integers(0, 2), st.integers(0, 9))
async def test_unpacking_gives_back_what_was_packed_however_it_comes(
    content: bytes, size: int, halves: int, level: int
) -> None:
    ends = [0, *(len(content) * part // (halves + 1) for part in range(1, halves + 1)), len(content)]
    members = [gzip.compress(content[a:b], level) for a, b in pairwise(ends)]
    unpacking = Unpacking()
    told = [piece for chunk in cut(b"".join(members) + b"\0" * halves, size) for piece in unpacking.feed(chunk)]
    assert unpacking.ended
    assert b"".join(told) == content
    assert max(map(len, told), default=0) <= PIECE


async def test_a_file_that_was_cut_or_damaged_is_never_taken_for_a_short_one(desk: Desk, line: Line) -> None:
    packed = gzip.compress(TEXT)
    dice = random.Random(7)
    for _ in range(60):
        line.answers.clear()
        line.answers.append(stored(packed[: dice.randrange(len(packed))]))
        assert "cut" in await refused(desk, Transient, gzipped=True)
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    for broken in (bytes(flipped), b"no gzip at all", packed + b"more"):
        line.answers.clear()
        line.answers.append(stored(broken))
        assert "damaged" in await refused(desk, Transient, gzipped=True)
    line.answers.clear()
    line.answers.append(stored(TEXT[:1000], content_length="2000"))
    assert "2000" in await refused(desk, Transient)
    line.answers.clear()
    line.answers.append(stored(TEXT[:1000], end=httpx.ReadError("reset")))
    await refused(desk, Transient)


async def test_what_unpacks_without_end_is_left_unread_in_little_memory(desk: Desk, line: Line) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    line.answers.append(stored(*cut(bomb, 16_384)))
    count = 0

    async def through() -> None:
        nonlocal count
        async for chunk in download(client_of(desk), URL, gzipped=True, ask=Ask()):
            count += len(chunk)

    tracemalloc.start()
    with pytest.raises(Transient, match="200 times"):
        await through()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert RATIO_FROM - PIECE <= count < 64 << 20
    assert peak < 8 << 20


async def test_who_watches_is_told_of_the_answer_and_never_of_the_signature() -> None:
    made: list[Made] = []
    answers = [stored(b"a"), httpx.Response(403), stored(b"a", end=httpx.ReadError("reset"))]
    transport = Transport(watch=made.append, wire=httpx.MockTransport(lambda _: answers.pop(0)))
    for kind in (None, Expired, Transient):
        with pytest.raises(kind) if kind else nullcontext():
            async with transport.stream(URL, call=Call("amazon", "download")) as stream:
                if stream.status == 403:
                    raise Expired("dead")
                assert [chunk async for chunk in stream.chunks] == [b"a"]
    await transport.close()
    assert [(one.status, one.failure) for one in made] == [(200, None), (403, None), (200, "ReadError")]
    assert "Signature" not in repr(made)


async def test_what_comes_drop_by_drop_is_given_up(desk: Desk, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    line.answers.append(stored(b"a", b"b"))
    monkeypatch.setattr(documents, "LONGEST_S", -1.0)
    assert "left unread" in await refused(desk, Transient)


async def test_a_dead_address_wants_another_one_and_other_answers_say_what_they_are(desk: Desk, line: Line) -> None:
    for status, kind in ((403, Expired), (404, Refused), (500, Transient), (503, Transient), (429, Transient)):
        line.answers.clear()
        line.answers.append(httpx.Response(status, text="<Error/>"))
        await refused(desk, kind)
        with pytest.raises(kind):
            await upload(client_of(desk), URL, b"{}", "application/json", Ask())
    line.answers.clear()
    line.answers.append(httpx.ConnectError("no"))
    await refused(desk, NothingSent)


async def test_an_upload_says_the_very_content_type_and_nothing_of_the_api(desk: Desk, line: Line) -> None:
    line.answers.append(httpx.Response(200))
    await upload(client_of(desk), URL, b"[]", "application/json; charset=UTF-8", Ask())
    (request,) = line.calls
    assert (request.method, str(request.url), request.content) == ("PUT", URL, b"[]")
    assert request.headers["content-type"] == "application/json; charset=UTF-8"
    assert not [name for name in request.headers if name.startswith("x-amz")]


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(content: bytes, content_type: str = "", store: str | None = None, size: int = 7) -> list[str]:
    return [text async for text in decoded(pieces(*cut(content, size)), content_type, store)]


@pytest.mark.parametrize(
    ("content_type", "store", "charset"),
    [
        ("text/plain; charset=UTF-8", "DE", "utf-8"),
        ("text/plain;charset=iso-8859-1", "DE", "cp1252"),
        ("text/tab-separated-values", "DE", "cp1252"),
        ("", "DE", "utf-8"),
        ("", "FR", "utf-8-sig"),
        ("text/plain; charset=cp1252", "FR", "utf-8-sig"),
        ("", None, "cp1252"),
    ],
)
async def test_western_letters_arrive(content_type: str, store: str | None, charset: str) -> None:
    lines = ["name\tprice", "plain\t1", "Größe — “5”\t2,50 €", "", "Écharpe\t3"]
    assert await read("\r\n".join(lines).encode(charset), content_type, store) == lines


@pytest.mark.parametrize("content_type", ["text/plain;charset=Shift_JIS", "text/plain; charset=Windows-31J", ""])
async def test_japanese_letters_arrive_though_their_bytes_look_like_others(content_type: str) -> None:
    # The second byte of 表 and ソ is a backslash; 髙 and ① are not in the narrower Shift JIS.
    lines = ["商品名\t価格", "表 ソ能 十\t1", "髙島 ①\t2"]
    assert await read("\n".join([*lines, ""]).encode("cp932"), content_type, "JP") == lines


async def test_letters_that_cannot_be_read_are_told_with_their_place() -> None:
    declared = "ok\nGröße\nGr\xf6\xdfe".encode("latin-1").replace(b"Gr\xf6\xdfe", "Größe".encode(), 1)
    for content_type, store, content, place in (
        ("text/plain; charset=UTF-8", "DE", declared, "line 3, byte 3 is not utf-8"),
        ("", "DE", declared, "line 3, byte 3 is not utf-8"),
        ("", "DE", b"a\n\x81", "line 2, byte 1 is not cp1252"),
        ("text/plain; charset=Shift_JIS", "JP", b"a\n\x81", "line 2, byte 1 is not cp932"),
        ("text/plain; charset=UTF-16", "DE", b"a", "said to be written in utf-16"),
        ("text/plain; charset=klingon", "DE", b"a", "said to be written in klingon"),
        ("", "DE", "a".encode("utf-16"), "UTF-16"),
    ):
        with pytest.raises(Unclear, match=place):
            await read(content, content_type, store)


async def test_a_line_without_end_is_not_gathered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LINE_BYTES", 100)
    with pytest.raises(Unclear, match="line 2 is longer"):
        await read(b"a\n" + b"b" * 200)
    assert await read(b"a\n" + b"b" * 90) == ["a", "b" * 90]


async def test_the_sandboxs_documents_come_whole_or_not_at_all(
    sandbox: Sandbox, open_desk: Callable[..., Desk]
) -> None:
    """Over a real wire: a file that is cut half-way, and one that comes."""
    desk = open_desk(sandbox)
    shown = (await sandbox.get("settlements"))["settlements"]
    named = next(one for one in shown if one["marketplace"] == "US")["documentId"]
    address = await client_of(desk).get(
        "getReportDocument", f"/reports/2021-06-30/documents/{named}", {}, Ask(), Address
    )
    url = address.url
    await sandbox.post("faults", {"faults": [{"operation": "download", "kind": "truncate", "count": 1}]})
    with pytest.raises(Transient):
        [chunk async for chunk in download(client_of(desk), url, gzipped=True, ask=Ask())]
    whole = b"".join([chunk async for chunk in download(client_of(desk), url, gzipped=True, ask=Ask())])
    assert whole.startswith(b"settlement-id\t")
    await sandbox.post("faults", {"faults": [{"operation": "download", "kind": "reset", "count": 1}]})
    with pytest.raises(Transient):
        [chunk async for chunk in download(client_of(desk), url, gzipped=True, ask=Ask())]
