"""The store of documents: signed addresses that die, files that are packed, places to upload to."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from sandbox.amazon.app import Front
from sandbox.amazon.documents import Documents
from sandbox.amazon.state import Amazon
from sandbox.control import Core, assemble
from sandbox.options import Options
from sandbox.visit import advance, calls, inside


@pytest.fixture
def amazon() -> Amazon:
    return Amazon(Core.of(Options(products=5, orders=0, speed=0, start=datetime(2026, 3, 1, 12, tzinfo=UTC))))


@pytest.fixture
def documents(amazon: Amazon) -> Documents:
    return amazon.documents


@pytest.fixture
async def client(amazon: Amazon) -> AsyncIterator[httpx.AsyncClient]:
    front = Front(amazon)
    async with inside(assemble(amazon.core, front, front)) as visitor:
        yield visitor


async def test_a_document_is_read_without_a_token_until_its_address_dies(
    client: httpx.AsyncClient, documents: Documents
) -> None:
    url = documents.address(documents.put("Größe".encode("cp1252"), "text/plain"))
    await advance(client, 299)
    found = await client.get(url)
    assert (found.status_code, found.content, found.headers["content-type"]) == (200, b"Gr\xf6\xdfe", "text/plain")
    await advance(client, 1)
    dead = await client.get(url)
    assert dead.status_code == 403
    assert dead.headers["content-type"].startswith("application/xml")
    assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in dead.text
    assert [call["status"] for call in await calls(client, "download")] == [200, 403]


async def test_a_packed_document_lies_there_packed(client: httpx.AsyncClient, documents: Documents) -> None:
    document_id = documents.put(b"a\tb\n" * 1000, "text/plain", gzip=True)
    raw = (await client.get(documents.address(document_id))).content
    assert raw.startswith(b"\x1f\x8b")
    assert len(raw) < 200
    stored = documents.stored(document_id)
    assert stored is not None
    assert stored.text == b"a\tb\n" * 1000


async def test_an_answer_says_that_it_is_packed_where_that_was_asked_for(
    client: httpx.AsyncClient, documents: Documents
) -> None:
    document_id = documents.put(b"a", "text/plain", gzip=True)
    silent, told = [await client.get(documents.address(document_id, encoded=encoded)) for encoded in (False, True)]
    assert ["content-encoding" in one.headers for one in (silent, told)] == [False, True]
    assert told.content == b"a"


async def test_an_address_of_another_document_or_with_headers_of_the_api_is_refused(
    client: httpx.AsyncClient, documents: Documents
) -> None:
    one, other = (documents.put(text, "text/plain") for text in (b"one", b"other"))
    url = documents.address(one)
    assert (await client.get(url.replace(one, other))).status_code == 403
    assert (await client.get(url.partition("?")[0])).status_code == 403
    assert (await client.put(url, content=b"mine")).status_code == 403
    told = await client.get(url, headers={"x-amz-access-token": "Atza|1"})
    assert (told.status_code, "not signed" in told.text) == (403, True)
    assert (await client.get(url)).content == b"one"


async def test_an_upload_needs_the_very_content_type_and_may_be_repeated(
    client: httpx.AsyncClient, documents: Documents
) -> None:
    slot = documents.slot("application/json; charset=UTF-8")
    url = documents.address(slot)
    wrong = await client.put(url, content=b"{}", headers={"content-type": "application/json"})
    assert (wrong.status_code, "SignatureDoesNotMatch" in wrong.text) == (403, True)
    for content in (b"{}", b"[]"):
        taken = await client.put(url, content=content, headers={"content-type": "application/json; charset=UTF-8"})
        assert taken.status_code == 200
    stored = documents.stored(slot)
    assert stored is not None
    assert stored.content == b"[]"


async def test_addresses_are_told_with_the_host_that_was_asked(client: httpx.AsyncClient, documents: Documents) -> None:
    await client.get("http://amazon.test:8080/sellers/v1/marketplaceParticipations")
    assert documents.address(documents.slot("text/plain")).startswith("http://amazon.test:8080/_documents/")
