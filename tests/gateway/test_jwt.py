"""Tokens of an issuer: what opens the gateway beside API keys, and everything that does not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import InsecureKeyLengthWarning
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from pydantic import SecretStr
from redis.asyncio import Redis

from adapters.transport import Transport, Unreadable
from domain.errors import Invalid
from gateway import jwt, keys
from gateway.auth import FAILURES, Keys
from gateway.body import BadRequest
from gateway.jwt import Away, Issuer, PublishedKeys, Tokens, Untrusted, fresh_for_s, read_keys
from gateway.settings import MOST_CALLS, MOST_POINTS, SettingsError, read_settings
from resolvers.context import Caller
from store.session import Store
from tests.gateway.conftest import Acorn, Gateway, plain, served, settings_of, until

ISSUER = "https://issuer.example/"
AUDIENCE = "acorn"
JWKS = "https://issuer.example/jwks.json"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def published(key: Any, kid: str | None, **more: str) -> dict[str, Any]:
    """A key as an issuer publishes it."""
    public = key.public_key()
    kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm if key is EC else OKPAlgorithm
    return {**kind.to_jwk(public, as_dict=True), **({} if kid is None else {"kid": kid}), **more}


def token(key: Any = RSA, kid: str | None = "one", algorithm: str = "RS256", **claims: Any) -> str:
    """A token that is good, but for what is said otherwise; a claim of None is left out."""
    told = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "shop",
        "exp": int(time.time()) + 300,
        "scope": "stock:read",
    } | claims
    headers = {} if kid is None else {"kid": kid}
    kept = {name: value for name, value in told.items() if value is not None}
    return pyjwt.encode(kept, key, algorithm, headers=headers)


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(header: Mapping[str, Any], claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A token with a header that no honest library would write."""
    head = f"{segment(header)}.{segment(claims)}"
    return f"{head}.{segment(sign(head.encode()))}"


def by_rsa(content: bytes) -> bytes:
    return pyjwt.get_algorithm_by_name("RS256").sign(content, RSA)


@dataclass(slots=True)
class Publisher:
    """An issuer's address: what it publishes, and how often it was asked."""

    keys: list[dict[str, Any]] = field(default_factory=lambda: [published(RSA, "one"), published(EC, "ec")])
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.status == 0:
            raise httpx.ConnectError("away")
        return httpx.Response(self.status, json={"keys": self.keys}, headers=self.headers)


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
async def transport(publisher: Publisher) -> AsyncIterator[Transport]:
    made = Transport(wire=httpx.MockTransport(publisher))
    yield made
    await made.close()


@pytest.fixture
def tokens(transport: Transport) -> Tokens:
    return Tokens(Issuer(ISSUER, AUDIENCE, JWKS), transport)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets the monotonic clock of gateway.jwt go on by so many seconds."""
    ahead = 0.0
    real = time.monotonic

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return real() + ahead

    def forward(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(jwt, "time", Clock)
    return forward


async def test_a_good_token_says_who_asks_for_what_and_until_when(tokens: Tokens) -> None:
    ends = int(time.time()) + 300
    told = token(exp=ends, scope="openid stock:read catalog:read", points_per_minute=500, calls_per_minute=7)
    assert await tokens.caller(told) == Caller(
        "jwt:shop",
        frozenset({"stock:read", "catalog:read"}),
        datetime.fromtimestamp(ends + 30, UTC),
        500,
        7,
    )


async def test_a_token_is_given_no_more_than_the_settings_could(tokens: Tokens) -> None:
    told = await tokens.caller(token(points_per_minute=10**19, calls_per_minute=10**30))
    assert (told.points_per_minute, told.calls_per_minute) == (MOST_POINTS, MOST_CALLS)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "stock:read  orders:read"}, {"stock:read", "orders:read"}),
        ({"scope": None, "scp": "stock:read"}, {"stock:read"}),
        ({"scope": None, "scp": ["stock:read", "nonsense", 5]}, {"stock:read"}),
        ({"scope": "openid", "permissions": ["orders:read"]}, {"orders:read"}),
        ({"scope": {"stock:read": True}}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_only_scopes_of_ours_count(tokens: Tokens, claims: dict[str, Any], scopes: set[str]) -> None:
    assert (await tokens.caller(token(**claims))).scopes == scopes


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA")], ids=lambda one: str(one)[:5]
)
async def test_each_kind_of_signature_is_read_where_it_is_allowed(
    transport: Transport, publisher: Publisher, key: Any, algorithm: str
) -> None:
    publisher.keys = [published(key, "one", alg=algorithm)]
    allowed = Tokens(Issuer(ISSUER, AUDIENCE, JWKS, (algorithm,)), transport)
    assert (await allowed.caller(token(key, algorithm=algorithm))).name == "jwt:shop"
    others = Tokens(Issuer(ISSUER, AUDIENCE, JWKS, ("ES384",)), transport)
    with pytest.raises(Untrusted, match="algorithm"):
        await others.caller(token(key, algorithm=algorithm))


async def test_a_token_without_a_key_name_is_read_by_the_only_key_there_is(
    tokens: Tokens, publisher: Publisher
) -> None:
    publisher.keys = [published(RSA, None)]
    assert (await tokens.caller(token(kid=None))).name == "jwt:shop"


async def test_of_several_keys_one_has_to_be_named(tokens: Tokens) -> None:
    with pytest.raises(Untrusted, match="unknown key"):
        await tokens.caller(token(kid=None))
    assert (await tokens.caller(token())).name == "jwt:shop"


GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": 4_000_000_000}
PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def by_public_key(content: bytes) -> bytes:
    """Signed by what everybody has, as if it were a secret."""
    return hmac.new(PUBLIC_PEM, content, hashlib.sha256).digest()


def by_other(content: bytes) -> bytes:
    return pyjwt.get_algorithm_by_name("RS256").sign(content, OTHER)


NOW = int(time.time())
BAD: Mapping[str, Callable[[], str]] = {
    "no signature": lambda: signed({"alg": "none", "kid": "one"}, GOOD, lambda _: b""),
    "no signature, written otherwise": lambda: signed({"alg": "nOnE", "kid": "one"}, GOOD, lambda _: b""),
    "no algorithm": lambda: signed({"kid": "one"}, GOOD, by_rsa),
    "an algorithm that is no text": lambda: signed({"alg": ["RS256"], "kid": "one"}, GOOD, by_rsa),
    "the public key as a secret": lambda: signed({"alg": "HS256", "kid": "one"}, GOOD, by_public_key),
    "the public key as a secret, told as RS256": lambda: signed({"alg": "RS256", "kid": "one"}, GOOD, by_public_key),
    "the algorithm of another key": lambda: signed({"alg": "ES256", "kid": "one"}, GOOD, by_rsa),
    "another key": lambda: token(OTHER),
    "a key of its own": lambda: signed({"alg": "RS256", "kid": "one", "jwk": published(OTHER, "one")}, GOOD, by_other),
    "a key from elsewhere": lambda: signed(
        {"alg": "RS256", "kid": "mine", "jku": "https://evil.example/", "x5u": "https://evil.example/"}, GOOD, by_other
    ),
    "a key name that is a path": lambda: token(kid="../../dev/null"),
    "a key name that is a statement": lambda: token(kid="one' or '1'='1"),
    "a key name that is no text": lambda: signed({"alg": "RS256", "kid": 1}, GOOD, by_rsa),
    "a critical extension": lambda: signed({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, GOOD, by_rsa),
    "a critical extension that libraries know": lambda: signed(
        {"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": False}, GOOD, by_rsa
    ),
    "another type": lambda: signed({"alg": "RS256", "kid": "one", "typ": "logout+jwt"}, GOOD, by_rsa),
    "too long": lambda: token(note="x" * jwt.LONGEST),
    "no end": lambda: token(exp=None),
    "an end that is past": lambda: token(exp=NOW - 31),
    "an end in milliseconds": lambda: token(exp=(NOW + 3600) * 10**3),
    "an end in nanoseconds": lambda: token(exp=(NOW + 3600) * 10**9),
    "an end beyond time": lambda: signed({"alg": "RS256", "kid": "one"}, {**GOOD, "exp": 10**300}, by_rsa),
    "an end at no number": lambda: signed(
        {"alg": "RS256", "kid": "one"}, json.dumps(GOOD).replace("4000000000", "1e999").encode(), by_rsa
    ),
    "a beginning to come": lambda: token(nbf=NOW + 3600),
    "a beginning in nanoseconds": lambda: token(nbf=NOW * 10**9),
    "made in the future": lambda: token(iat=NOW + 3600),
    "made in nanoseconds": lambda: token(iat=NOW * 10**9),
    "another audience": lambda: token(aud="elsewhere"),
    "no audience": lambda: token(aud=None),
    "another issuer": lambda: token(iss="https://issuer.example"),
    "no issuer": lambda: token(iss=None),
    "nobody": lambda: token(sub=None),
    "a nameless one": lambda: token(sub=" "),
    "a name of several lines": lambda: token(sub="shop\nadmin"),
    "a long name": lambda: token(sub="x" * 201),
    "a name that is a number": lambda: signed({"alg": "RS256", "kid": "one"}, {**GOOD, "sub": 5}, by_rsa),
    "a budget that is no number": lambda: token(points_per_minute="1000"),
    "a budget below 1": lambda: token(calls_per_minute=0),
    "bound to its holder": lambda: token(cnf={"jkt": "x"}),
    "claims that are a list": lambda: signed({"alg": "RS256", "kid": "one"}, [GOOD], by_rsa),
    "claims that nest": lambda: signed({"alg": "RS256", "kid": "one"}, b"[" * 5_000, by_rsa),
    "a header that nests": lambda: f"{segment(b'[' * 3_000)}.{segment(GOOD)}.AAAA",
    "no base64": lambda: "a!.b!.c!",
    "empty parts": lambda: "..",
    "letters of elsewhere": lambda: "ä.ö.ü",
}


@pytest.mark.parametrize("what", sorted(BAD))
async def test_what_is_not_a_good_token_opens_nothing(tokens: Tokens, publisher: Publisher, what: str) -> None:
    with pytest.raises(Untrusted) as caught:
        await tokens.caller(BAD[what]())
    assert publisher.asked <= 1
    assert ISSUER not in str(caught.value)
    assert (await tokens.caller(signed({"alg": "RS256", "kid": "one"}, GOOD, by_rsa))).name == "jwt:shop"


async def test_clocks_may_differ_by_half_a_minute(tokens: Tokens) -> None:
    now = int(time.time())
    for told in (token(exp=now - 20), token(nbf=now + 20), token(iat=now + 20)):
        caller = await tokens.caller(told)
        assert caller.expires_at is not None
        assert caller.expires_at > datetime.now(UTC)


def test_keys_that_sign_otherwise_are_left_out() -> None:
    secret = {"kty": "oct", "k": segment(b"x" * 64), "kid": "secret"}
    entries = [
        published(RSA, "good"),
        published(EC, "ec"),
        published(RSA, "encrypts", use="enc"),
        published(RSA, "other", alg="RSA-OAEP"),
        secret,
        {**secret, "alg": "RS256", "kid": "disguised"},
        {"kty": "RSA", "kid": "hollow"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
        "nonsense",
    ]
    body = json.dumps({"keys": entries}).encode()
    assert set(read_keys(body, ("RS256", "HS256"))) == {"good", None}
    assert set(read_keys(body, ("RS256", "ES256"))) == {"good", "ec"}
    for wrong in (b"", b"[]", b"{}", b'{"keys": {}}'):
        with pytest.raises(Unreadable):
            read_keys(wrong, ("RS256",))


async def test_a_weak_key_proves_nothing(tokens: Tokens, publisher: Publisher) -> None:
    publisher.keys = [published(WEAK, "one")]
    with pytest.warns(InsecureKeyLengthWarning):
        weak = token(WEAK)
    with pytest.raises(Untrusted, match="InvalidKeyError"):
        await tokens.caller(weak)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("public, max-age=900", 900.0),
        ("max-age=1", 60.0),
        ("max-age=99999999", 86_400.0),
        ("s-maxage=900", 300.0),
        ("no-store", 300.0),
        ("", 300.0),
    ],
)
def test_keys_are_fresh_as_long_as_the_issuer_says_within_bounds(told: str, seconds: float) -> None:
    assert fresh_for_s(told) == seconds


async def test_a_new_key_is_asked_for_when_a_token_names_it(
    tokens: Tokens, publisher: Publisher, clock: Callable[[float], None]
) -> None:
    await tokens.caller(token())
    publisher.keys.append(published(OTHER, "two"))
    with pytest.raises(Untrusted):
        await tokens.caller(token(OTHER, "two"))
    assert publisher.asked == 1
    clock(jwt.PAUSE_S)
    assert (await tokens.caller(token(OTHER, "two"))).name == "jwt:shop"
    assert publisher.asked == 2


async def test_a_crowd_of_unknown_keys_asks_the_issuer_once(
    tokens: Tokens, publisher: Publisher, clock: Callable[[float], None]
) -> None:
    await tokens.caller(token())
    clock(jwt.PAUSE_S)
    told = await asyncio.gather(*(tokens.caller(token(kid=f"k{one}")) for one in range(50)), return_exceptions=True)
    assert {type(one) for one in told} == {Untrusted}
    assert publisher.asked == 2


async def test_a_key_that_is_no_longer_published_proves_nothing_once_the_others_are_stale(
    tokens: Tokens, publisher: Publisher, clock: Callable[[float], None]
) -> None:
    publisher.headers = {"cache-control": "max-age=60"}
    await tokens.caller(token())
    publisher.keys = [published(OTHER, "two")]
    await tokens.caller(token())
    clock(60)
    # The first that comes is answered from what is known, and has the keys read anew.
    await tokens.caller(token())
    await until(lambda: publisher.asked == 2)
    await tokens.caller(token(OTHER, "two"))
    with pytest.raises(Untrusted, match="unknown key"):
        await tokens.caller(token())


async def test_while_the_issuer_is_away_its_keys_hold_for_a_day(
    tokens: Tokens, publisher: Publisher, clock: Callable[[float], None]
) -> None:
    await tokens.caller(token())
    for publisher.status in (0, 500):
        clock(3_600)
        assert (await tokens.caller(token())).name == "jwt:shop"
        with pytest.raises(Untrusted):
            await tokens.caller(token(kid="two"))
    clock(jwt.KEPT_S)
    with pytest.raises(Away):
        await tokens.caller(token())
    publisher.status = 200
    clock(jwt.PAUSE_S)
    with pytest.raises(Away):
        await tokens.caller(token())  # its keys are read meanwhile
    await until(lambda: tokens._keys._asking is None)
    assert (await tokens.caller(token())).name == "jwt:shop"


async def test_of_an_issuer_that_never_answered_nothing_is_known(tokens: Tokens, publisher: Publisher) -> None:
    publisher.status = 404
    with pytest.raises(Away):
        await tokens.caller(token())


async def test_keys_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [published(RSA, "one")]}), encoding="utf-8")
    tokens = Tokens(Issuer(ISSUER, AUDIENCE, str(file)))
    assert (await tokens.caller(token())).name == "jwt:shop"
    await tokens.close()
    missing = Tokens(Issuer(ISSUER, AUDIENCE, str(tmp_path / "none")))
    with pytest.raises(Away):
        await missing.caller(token())
    await missing.close()


async def test_a_question_to_the_issuer_outlives_who_asked_and_ends_with_the_house(publisher: Publisher) -> None:
    asked = asyncio.Event()

    async def silent(request: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    transport = Transport(wire=httpx.MockTransport(silent))
    keys = PublishedKeys(JWKS, ("RS256",), transport)
    first = asyncio.create_task(keys.named("one"))
    await asked.wait()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.create_task(keys.named("one"))
    await asyncio.sleep(0)
    assert not second.done()
    await keys.close()
    with pytest.raises(Away):
        await second
    await transport.close()


async def test_a_token_is_read_once_a_minute(store: Store, redis: Redis, tokens: Tokens, monkeypatch: Any) -> None:
    read = 0
    real = Tokens.caller

    async def counted(self: Tokens, token: str) -> Caller:
        nonlocal read
        read += 1
        return await real(self, token)

    monkeypatch.setattr(Tokens, "caller", counted)
    house = Keys(store, redis, tokens)
    header = f"Bearer {token()}"
    assert house.known(header) is None
    for _ in range(3):
        assert (await house.caller(header, "10.0.0.1")).name == "jwt:shop"
    assert read == 1
    assert house.known(header) is not None
    [(_, until)] = house._known.values()
    assert 0 < until - time.monotonic() <= 60
    assert await house.still_valid(header)
    assert read == 2
    padded = header + " " * jwt.LONGEST
    assert (await house.caller(padded, "10.0.0.1")).name == "jwt:shop"
    assert house.known(padded) is None


async def test_a_token_is_not_believed_beyond_its_end(store: Store, redis: Redis, tokens: Tokens) -> None:
    house = Keys(store, redis, tokens)
    # Its end is told in whole seconds: it has between two and three left.
    header = f"Bearer {token(exp=int(time.time()) - 27)}"
    assert (await house.caller(header, "10.0.0.1")).name == "jwt:shop"
    async with asyncio.timeout(30):
        while house.known(header) is not None or await house.still_valid(header):
            await asyncio.sleep(0.05)
    with pytest.raises(BadRequest, match="has ended"):
        await house.caller(header, "10.0.0.1")


async def test_an_address_that_tries_tokens_is_stopped_and_a_good_one_from_there_is_not(
    store: Store, redis: Redis, tokens: Tokens
) -> None:
    house = Keys(store, redis, tokens)
    for _ in range(FAILURES):
        with pytest.raises(BadRequest, match="never good"):
            await house.caller(f"Bearer {token(OTHER)}", "10.0.0.1")
    with pytest.raises(BadRequest) as caught:
        await house.caller(f"Bearer {token(OTHER)}", "10.0.0.1")
    assert caught.value.status == 429
    assert (await house.caller(f"Bearer {token()}", "10.0.0.1")).name == "jwt:shop"


async def test_while_nothing_is_known_of_the_issuer_the_answer_says_so(
    store: Store, redis: Redis, tokens: Tokens, publisher: Publisher
) -> None:
    publisher.status = 0
    house = Keys(store, redis, tokens)
    with pytest.raises(BadRequest) as caught:
        await house.caller(f"Bearer {token()}", "10.0.0.1")
    assert (caught.value.status, caught.value.code) == (503, "UNAVAILABLE")
    assert await house.still_valid(f"Bearer {token()}")


async def test_no_key_is_named_as_a_token_is(store: Store) -> None:
    with pytest.raises(Invalid, match="jwt:"):
        await keys.create(store, "jwt:shop", ["stock:read"], None)
    await keys.create(store, "jwt-shop", ["stock:read"], None)


@pytest.fixture
async def trusting(
    new_database: Callable[[], str], redis_url: str, redis: Redis, tmp_path: Path
) -> AsyncIterator[Gateway]:
    """A gateway that believes the issuer, whose keys lie in a file."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [published(RSA, "one"), published(EC, "ec")]}), encoding="utf-8")
    settings = settings_of(
        new_database(), redis_url, tmp_path, jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(file)
    )
    async with served(settings) as gateway:
        yield gateway


async def test_a_token_asks_as_a_key_does_and_a_bad_one_is_told_nothing(trusting: Gateway) -> None:
    async def ask(bearer: str) -> httpx.Response:
        return await trusting.http.post(
            "/graphql", json={"query": "{ who }"}, headers={"authorization": f"Bearer {bearer}"}
        )

    # The sample's scopes are none of ours, but for this one.
    for key, kid, algorithm in ((RSA, "one", "RS256"), (EC, "ec", "ES256")):
        answer = await ask(token(key, kid, algorithm, scope="admin"))
        assert answer.json() == {"data": {"who": "jwt:shop"}}
    assert (await ask(await trusting.key("admin"))).json() == {"data": {"who": "admin"}}
    told = {
        (answer.status_code, answer.headers["www-authenticate"], answer.json()["errors"][0]["message"])
        for answer in [
            await ask(BAD[what]())
            for what in ("no signature", "another key", "an end that is past", "another audience", "nobody", "too long")
        ]
    }
    assert told == {
        (401, 'Bearer realm="acorn", error="invalid_token"', "This token has ended, or was never good here."),
        # Longer than anything that is read.
        (
            401,
            'Bearer realm="acorn"',
            "Send an API key: `Authorization: Bearer acorn_…`. `acorn keys create` makes one.",
        ),
    }
    refused = (await ask(token(scope="openid"))).json()
    assert [one["extensions"]["code"] for one in refused["errors"]] == ["FORBIDDEN"]


async def test_where_no_issuer_is_set_a_token_is_no_key(store: Store, redis: Redis) -> None:
    house = Keys(store, redis)
    with pytest.raises(BadRequest) as caught:
        await house.caller(f"Bearer {token()}", "10.0.0.1")
    assert caught.value.status == 401
    assert not await house.still_valid(f"Bearer {token()}")


@pytest.mark.parametrize(
    ("keys_", "told"),
    [
        ([published(RSA, "one"), published(EC, "ec")], f"  ok  issuer: {ISSUER} publishes 2 keys"),
        ([published(ED, "one")], f"FAIL  issuer: {ISSUER} publishes no key for RS256, ES256"),
        (None, f"FAIL  issuer: the keys of {ISSUER} cannot be read"),
    ],
)
def test_doctor_looks_at_the_issuers_keys(
    acorn: Acorn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys_: list[dict[str, Any]] | None, told: str
) -> None:
    monkeypatch.setenv("ACORN_JWT_ISSUER", ISSUER)
    monkeypatch.setenv("ACORN_JWT_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("ACORN_JWT_JWKS", str(tmp_path / "jwks.json"))
    if keys_ is not None:
        (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys_}), encoding="utf-8")
    assert told in plain(acorn("doctor"))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, None),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": JWKS}, None),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": "jwks.json", "ALGORITHMS": "ES256, EdDSA"}, None),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": "http://localhost:1/jwks"}, None),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": "http://issuer.example/jwks"}, "ACORN_JWT_JWKS"),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS": "ftp://localhost/jwks"}, "ACORN_JWT_JWKS"),
        ({"ISSUER": ISSUER, "AUDIENCE": AUDIENCE}, "ACORN_JWT_JWKS"),
        ({"ISSUER": ISSUER, "JWKS": JWKS}, "ACORN_JWT_JWKS"),
        ({"AUDIENCE": AUDIENCE}, "ACORN_JWT_JWKS"),
        ({"ALGORITHMS": "HS256"}, "ACORN_JWT_ALGORITHMS"),
        ({"ALGORITHMS": "RS256,none"}, "ACORN_JWT_ALGORITHMS"),
    ],
)
def test_an_issuer_is_set_whole_and_safe_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], wrong: str | None
) -> None:
    monkeypatch.setenv("ACORN_DATABASE_URL", "postgresql://acorn@localhost/acorn")
    monkeypatch.setenv("ACORN_REDIS_URL", "redis://localhost")
    for name, value in given.items():
        monkeypatch.setenv(f"ACORN_JWT_{name}", value)
    if wrong is None:
        settings = read_settings(env_file=None)
        assert (Issuer.of(settings) is None) == (not given)
        assert isinstance(settings.database_url, SecretStr)
    else:
        with pytest.raises(SettingsError, match=wrong):
            read_settings(env_file=None)
