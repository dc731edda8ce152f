"""What is kept of a call: what was done, and nothing that opens a door or belongs to a buyer."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.redact import BODY_BYTES, READING_BYTES, REDACTED, redacted
from adapters.transport import Call, Made, Spoken
from domain.exchange import Exchange

JSON = ((b"Content-Type", b"application/json"),)
SIGNED = "https://tortuga.s3.amazonaws.com/doc?X-Amz-Algorithm=AWS4&X-Amz-Signature=0fe1d2"


def spoken(
    sent: Any = None,
    received: Any = None,
    *,
    url: str = "https://api.test/orders/v0/orders/1",
    operation: str = "getOrder",
    status: int | None = 200,
    failure: str | None = None,
    write: bool = False,
    about: tuple[str, ...] = (),
    request_headers: tuple[tuple[bytes, bytes], ...] = JSON,
    response_headers: tuple[tuple[bytes, bytes], ...] = JSON,
) -> Spoken:
    call = Call("amazon-na", operation, 0.5, about)
    return Spoken(
        Made(call, "POST" if sent else "GET", "api.test", 0.25, status, "req-1", failure),
        time.time(),
        write,
        url,
        request_headers,
        _bytes(sent),
        response_headers,
        _bytes(received),
    )


def _bytes(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else orjson.dumps(body)


def whole(kept: Exchange) -> str:
    """Everything that would be written down."""
    texts = (kept.path, kept.failure, *kept.subjects, kept.request_headers, kept.response_headers)
    return "\n".join(str(one) for one in (*texts, kept.request, kept.response, kept.upstream_request_id))


WORDS = (
    "accessToken access_token refresh_token restrictedDataToken clientSecret new_client_secret password authorizationCode "
    "apiKey buyerName BuyerEmail buyerInfo recipient deliveryAddress ShippingAddress shipToAddress destinationAddress "
    "billing_address addressLine1 AddressLine3 phone Phone phoneNumber postalCode DestinationPostalCode zip email firstName "
    "last_name customer giftMessage GiftMessageText customizedUrl taxRegistrations note noteAttributes latitude shipTo "
    "displayableOrderComment contents fileContents deliveryInstructions receivedBy signedForBy otp lockerAccessCode "
    "dropOffLocation orderText lineItemText giftNote orderNote municipality neighborhood accountHolderName spapi_oauth_code "
    "base64EncodedContent encryptedCarrierAccountAttributes contacts privateKey"
)
NAMES = WORDS.split()
SEEDS = st.integers(10**9, 10**10).map(lambda number: f"seed{number}x")
HARMLESS = st.sampled_from(["orders", "items", "payload", "data", "details", "lines", "status", "x"])
LEAVES = st.one_of(st.integers(-(2**53), 2**53), st.booleans(), st.none(), st.text(max_size=8))


def hidden(secret: str, names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """A JSON value that holds the secret once, somewhere below one of the names."""
    inner = st.recursive(
        st.just(secret),
        lambda below: st.one_of(
            st.lists(below, min_size=1, max_size=1), st.dictionaries(HARMLESS, below, min_size=1, max_size=1)
        ),
        max_leaves=2,
    )
    planted = st.builds(
        lambda name, value, more: {**more, name: value}, names, inner, st.dictionaries(HARMLESS, LEAVES, max_size=3)
    )
    return st.recursive(
        planted,
        lambda below: st.one_of(
            st.builds(lambda before, one: [*before, one], st.lists(LEAVES, max_size=3), below),
            st.builds(
                lambda name, one, more: {**more, name: one},
                HARMLESS,
                below,
                st.dictionaries(HARMLESS, LEAVES, max_size=2),
            ),
        ),
        max_leaves=6,
    )


def planted(names: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, Any]]:
    return SEEDS.flatmap(lambda secret: st.tuples(st.just(secret), hidden(secret, names)))


@settings(max_examples=60)
@given(planted(st.sampled_from(NAMES)), st.booleans(), st.sampled_from([200, 400, 503]))
def test_no_secret_and_no_buyer_survives_at_any_depth(case: tuple[str, Any], ours: bool, status: int) -> None:
    secret, body = case
    kept = redacted(spoken(body, {"ok": 1}, status=status) if ours else spoken(None, body, status=status))
    assert secret not in whole(kept)


@settings(max_examples=60)
@given(planted(HARMLESS), st.booleans())
def test_the_search_would_find_one(case: tuple[str, Any], ours: bool) -> None:
    """The twin: below names that are fine nothing is lost."""
    secret, body = case
    assert secret in whole(redacted(spoken(body, {"ok": 1}) if ours else spoken(None, body)))


@pytest.mark.parametrize(
    "secret",
    [
        "Atza|IwEBIJx-1",
        "Atzr|IwEBIJ",
        "Atzr%7CIwEBIJ",
        "amzn1.oa2-cs.v1.0fe1d2",
        "shpat_0123abcd",
        "mara.lindner@marketplace.amazon.de",
        "key?X-Amz-Signature=0fe1d2",
    ],
)
def test_what_is_known_by_its_form_goes_wherever_it_stands(secret: str) -> None:
    said = {"message": f"see {secret} there", "list": [secret]}
    url = "https://api.test/x" if "X-Amz" in secret else f"https://api.test/x?q={quote(secret)}"
    kept = redacted(spoken(said, said, status=400, url=url))
    for part in (kept.request, kept.response, kept.path):
        assert part is not None
        assert secret not in part
        assert quote(secret) not in part
        assert "0fe1d2" not in part
    assert "see " in (kept.request or "")


def test_an_answer_that_repeats_a_buyer_of_the_request_is_clean_too() -> None:
    sent = {"destinationAddress": {"name": "Mara Lindner", "addressLine1": 'Ahornweg "12"'}, "sku": "A-1"}
    told = {"errors": [{"code": "InvalidInput", "message": 'Mara Lindner, Ahornweg "12" cannot be reached'}]}
    kept = redacted(spoken(sent, told, status=400, write=True))
    assert "Lindner" not in whole(kept)
    assert "Ahornweg" not in whole(kept)
    assert (kept.failure, kept.subjects) == ("InvalidInput", ("order:1", "sku:A-1"))


@pytest.mark.parametrize(
    "told",
    ["MARA LINDNER of ULM", "no street in Ulm for mara lindner", "(89073) Ulm is not in the country of Mara Lindner"],
)
def test_an_echo_may_be_in_capitals_and_short(told: str) -> None:
    sent = {"destinationAddress": {"name": "Mara Lindner", "city": "Ulm", "postalCode": "89073", "countryCode": "DE"}}
    answer = {"errors": [{"code": "InvalidInput", "message": told}], "size": 89073, "other": "Ulmer 890731 DE"}
    kept = redacted(spoken(sent, answer, status=400, write=True))
    message = json.loads(kept.response or "")["errors"][0]["message"].lower()
    assert not any(one in message for one in ("mara", "lindner", "ulm", "89073"))
    assert json.loads(kept.response or "")["size"] == 89073
    assert json.loads(kept.response or "")["other"] == "Ulmer 890731 DE"


BUYER = {"note": "Mara Lindner", "sku": "A-1"}


@pytest.mark.parametrize("told", ["+49 731 5550123", "0731/5550-123", "(0731) 555 0123", "+497315550123"])
def test_a_telephone_number_is_known_however_it_is_parted(told: str) -> None:
    sent = {"ship_to": {"phone": "+49 (731) 5550123"}}
    answer = {"detail": f"{told} does not answer", "parcel": 7315550123, "order": "A-5550123"}
    kept = json.loads(redacted(spoken(sent, answer, status=422, write=True)).response or "")
    assert kept == {"detail": "[redacted] does not answer", "parcel": 7315550123, "order": "A-5550123"}


@pytest.mark.parametrize(
    "folded",
    [
        orjson.dumps(BUYER).decode(),
        json.dumps([json.dumps(BUYER, indent=2)]),
        json.dumps(json.dumps(BUYER)),
        f"cannot take {json.dumps(BUYER)}",
        '"note": "Mara Lindner" is too long',
    ],
)
@pytest.mark.parametrize("escape", [b'\\"', b"\\u0022"])
def test_json_within_a_text_hides_nobody(folded: str, escape: bytes) -> None:
    body = orjson.dumps({"errors": [{"code": "X", "details": folded}]}).replace(b'\\"', escape)
    for kept in (redacted(spoken(None, body, status=400)), redacted(spoken(body, {}, write=True))):
        assert "Lindner" not in whole(kept)
        assert '"code":"X"' in whole(kept)


def test_a_text_that_only_quotes_stays() -> None:
    said = {
        "query": 'query Q { nodes(names: ["a", "b"]) { id } }',
        "title": 'Screen, 24": [new]',
        "words": 'the "best" one',
    }
    assert json.loads(redacted(spoken(said, {})).request or "") == {**said, "title": f'Screen, 24": {REDACTED}'}


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"\r\n ", b"\xef\xbb\xbf\n"])
def test_json_is_known_behind_a_mark_and_blanks(head: bytes) -> None:
    kept = redacted(spoken(None, head + b'{"buyerName": "Mara", "errors": [{"code": "X"}]}', status=400))
    assert (kept.failure, json.loads(kept.response or "")["buyerName"]) == ("X", REDACTED)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"errors": [], "buyerName": "Mara Lindner", "x',
        '{"buyerName": "Mara Lindner"}'.encode("utf-16"),
        '{"buyerName": "Mara Lindner", "x": "ö"}'.encode("latin-1"),
        b'"{\\"buyerName\\": \\"Mara Lindner\\"}"',
        b'<?xml version="1.0"?><Error><BuyerName>Mara Lindner</BuyerName></Error>',
        b'<html><script>{"buyerName": "Mara Lindner"}</script></html>',
    ],
)
def test_of_an_error_that_is_neither_json_nor_a_page_no_word_is_kept(broken: bytes) -> None:
    kept = redacted(spoken(None, broken, status=400))
    assert (kept.response or "").startswith(f"[{len(broken)} bytes, application/json, sha256 ")
    assert redacted(spoken(None, b"<!DOCTYPE html><p>Sorry", status=400)).response == "<!DOCTYPE html><p>Sorry"


def test_a_file_is_opaque_whatever_its_address_looks_like() -> None:
    kept = redacted(
        spoken(b"{}", {"name": "Mara Lindner"}, url="https://files.test/1?sig=0fe1d2", operation="download")
    )
    assert kept.path == f"/1?{REDACTED}"
    assert "Lindner" not in whole(kept)


def test_who_stands_beside_an_address_is_a_person_and_who_does_not_is_a_product() -> None:
    kept = redacted(
        spoken(None, {"a": {"name": "Mara", "addressLine1": "x", "city": "Köln"}, "b": {"name": "Red socks"}})
    )
    assert json.loads(kept.response or "") == {
        "a": {"name": REDACTED, "addressLine1": REDACTED, "city": REDACTED},
        "b": {"name": "Red socks"},
    }


def test_counts_and_page_tokens_stay() -> None:
    body = {"reservedQuantity": {"pendingCustomerOrderQuantity": 3}, "pagination": {"nextToken": "page-2"}}
    assert json.loads(redacted(spoken(None, body)).response or "") == body


def test_headers_are_kept_by_name() -> None:
    theirs = ((b"X-Amz-Access-Token", b"Atza|1"), (b"X-Shopify-Access-Token", b"shpat_1"), (b"X-Amz-Date", b"20261128"))
    answer = ((b"x-amzn-RequestId", b"req-1"), (b"Set-Cookie", b"session=1"), *JSON)
    kept = redacted(spoken(None, {}, request_headers=theirs, response_headers=answer))
    assert kept.request_headers == "x-amz-date: 20261128"
    assert kept.response_headers == "x-amzn-requestid: req-1\ncontent-type: application/json"


def test_a_login_keeps_no_body_and_says_how_it_ended() -> None:
    form = ((b"Content-Type", b"application/x-www-form-urlencoded"),)
    answer = {"error": "invalid_grant", "access_token": "t0p"}
    for operation in ("login", "exchangeCode"):
        told = spoken(b"client_secret=s3cret", answer, operation=operation, status=400, request_headers=form)
        kept = redacted(told)
        assert (kept.request, kept.response, kept.failure) == (None, None, "HTTP 400")
        assert (kept.request_bytes, kept.response_bytes > 0) == (20, True)
    assert redacted(spoken(b'{"a":1}', answer)).request == '{"a":1}'


def test_a_presigned_address_keeps_neither_its_signature_nor_what_it_gives() -> None:
    kept = redacted(spoken(None, {"name": "anybody"}, url=SIGNED, operation="getDocument"))
    assert kept.path == f"/doc?{REDACTED}"
    assert (kept.response or "").startswith("[18 bytes, application/json, sha256 ")
    assert "anybody" not in whole(kept)


def test_what_is_no_json_is_a_size_and_a_hash_but_for_the_words_of_an_error() -> None:
    text = ((b"Content-Type", b"text/html"),)
    page = b"<html>Service Unavailable, ask mara@example.com</html>"
    fine, error = (redacted(spoken(None, page, status=one, response_headers=text)) for one in (200, 503))
    assert fine.response is not None
    assert fine.response.startswith(f"[{len(page)} bytes, text/html, sha256 ")
    assert error.response == f"<html>Service Unavailable, ask {REDACTED}</html>"
    sent = redacted(spoken(b"order\tname\n1\tMara", {}, status=400))
    assert (sent.request or "").startswith("[17 bytes")


def test_a_name_that_stands_there_twice_hides_nothing() -> None:
    kept = redacted(spoken(None, b'{"a": {"buyerName": "Mara Lindner"}, "a": 1}', status=400))
    assert kept.response == '{"a":1}'


def test_a_long_body_is_cut_and_tells_its_true_size() -> None:
    body = {"items": ["x" * 100] * 1000}
    kept = redacted(spoken(body, body, write=True))
    size = len(orjson.dumps(body))
    assert (kept.request_bytes, kept.response_bytes) == (size, size)
    for text in (kept.request, kept.response):
        assert text is not None
        assert text.endswith(f"… [cut, {size} bytes]")
        assert len(text) < BODY_BYTES + 50


def test_of_a_long_reading_that_went_well_the_first_part_is_kept_and_all_that_it_is_about() -> None:
    items = [{"orderId": f"{one}", "title": 'a "{[" title', "deep": [{"n": one}]} for one in range(200)]
    kept = redacted(spoken(None, {"orders": items, "more": {}}, url="https://api.test/search"))
    told, cut, _ = (kept.response or "").partition("… [cut")
    assert cut
    assert len(told) <= READING_BYTES
    first = json.loads(told)["orders"]
    assert first == items[: len(first)]
    assert len(first) > 10
    assert kept.subjects == tuple(f"order:{one}" for one in range(200))
    failed = redacted(spoken(None, {"orders": items, "errors": [{"code": "X"}]}, url="https://api.test/search"))
    assert (failed.failure, len(failed.response or "") > READING_BYTES) == ("X", True)


@pytest.mark.parametrize(
    ("url", "subjects"),
    [
        ("https://a/orders/v0/orders/902-1/shipmentConfirmation", ("order:902-1",)),
        ("https://a/listings/2021-08-01/items/A1/RED%2F1?marketplaceIds=X", ("sku:RED/1",)),
        ("https://a/fba/inventory/v1/summaries?sellerSkus=A%2CB,C", ("sku:A,B", "sku:C")),
        ("https://a/feeds/2021-06-30/feeds/77", ("feed:77",)),
    ],
)
def test_the_address_says_what_a_call_is_about(url: str, subjects: tuple[str, ...]) -> None:
    assert redacted(spoken(url=url)).subjects == subjects


def test_whoever_asks_says_it_first_and_bodies_say_the_rest() -> None:
    shop = {
        "data": {"order": {"id": "gid://shopify/Order/1", "lines": [{"sku": "TEE"}, {"id": "gid://shopify/Line/2"}]}}
    }
    kept = redacted(spoken({"variables": {}}, shop, url="https://shop.test/graphql.json", about=("item:7",)))
    assert kept.subjects == ("item:7", "order:gid://shopify/Order/1", "sku:TEE")


@pytest.mark.parametrize(
    ("status", "failure", "body", "told"),
    [
        (200, None, {"payload": {}}, None),
        (400, None, {"errors": [{"code": "InvalidInput"}]}, "InvalidInput"),
        (503, None, b"<html>", "HTTP 503"),
        (None, "ReadTimeout", None, "ReadTimeout"),
        (200, None, {"errors": [{"extensions": {"code": "THROTTLED"}}]}, "THROTTLED"),
        (200, None, {"data": {"x": {"userErrors": [{"code": "TAKEN"}]}}}, "TAKEN"),
        (200, None, {"data": {"x": {"userErrors": [{"message": "no"}]}}}, "USER_ERRORS"),
        (200, None, {"sku": "A", "status": "INVALID"}, "INVALID"),
    ],
)
def test_a_failure_has_one_name(status: int | None, failure: str | None, body: Any, told: str | None) -> None:
    assert redacted(spoken(None, body, status=status, failure=failure)).failure == told


def test_without_bodies_sizes_and_subjects_stay() -> None:
    kept = redacted(spoken({"sku": "A"}, {"errors": [{"code": "X"}]}, status=400), bodies=False)
    assert (kept.request, kept.response, kept.request_bytes) == (None, None, 11)
    assert (kept.failure, kept.subjects) == ("X", ("order:1", "sku:A"))


@given(st.binary(max_size=200), st.text(max_size=60))
def test_whatever_comes_it_can_be_kept(body: bytes, tail: str) -> None:
    kept = redacted(spoken(body, b"{" + body, url=f"https://a/{tail.encode('utf-8', 'replace').decode()}", status=400))
    for text in (whole(kept), *kept.subjects):
        assert "\0" not in text
        text.encode()


MEMBERS: st.SearchStrategy[str] = st.sampled_from(
    [
        "orderId",
        "sku",
        "id",
        "status",
        "email",
        "shipTo",
        "buyerName",
        ":email",
        "a b",
        "items",
        "\u00e9",
        "INVALID",
        "data",
        "city",
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from(["x:", ": ", "},{", "gid://shopify/Order/7", "true", "Atza|secret", "a@b.example"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(MEMBERS, inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(MEMBERS, VALUES, min_size=1, max_size=6))
def test_what_is_kept_as_it_stands_is_what_reading_it_would_keep(body: dict[str, Any]) -> None:
    # What changes something is always read whole, so it tells what a reading of the same has to keep.
    quick, slow = redacted(spoken(None, body)), redacted(spoken(None, body, write=True))
    assert (quick.response is None) is (slow.response is None)
    if quick.response is not None and slow.response is not None:
        assert json.loads(quick.response) == json.loads(slow.response)
    assert quick.failure == slow.failure
    assert set(quick.subjects) == set(slow.subjects)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": "x", "email" :"jane@example.test", "b": 1}',
        b'{"a": ["x", ":"], "email": "Jane"}',
        b'{"a": ["x"], ":email": "Jane"}',
        b'{"a": "x", "\\u0065mail": "Jane"}',
        b'{"a": 1} Jane',
        b'{"a": Jane}',
        b'{"a": "x", "b": "Jane',
        b'{"a": {"b": "Jane"}',
        b'{"a": "\xff", "b": "Jane"}',
        b'{"a": "\0", "b": "Jane"}x',
    ],
)
def test_no_trick_of_spelling_keeps_what_would_go(raw: bytes) -> None:
    assert "Jane" not in whole(redacted(spoken(None, raw))).replace("jane@example.test", "Jane")


def test_a_plain_reading_is_kept_to_the_letter() -> None:
    raw = b'{"sku":"A","price":10.50,"none":null,"yes":true,"names":["x","y"]}'
    kept = redacted(spoken(None, raw))
    assert (kept.response, kept.subjects) == (raw.decode(), ("order:1", "sku:A"))
