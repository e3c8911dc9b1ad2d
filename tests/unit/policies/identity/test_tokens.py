"""Attacks on access tokens (RFC 8725, OWASP API2): every one is refused with 401, and nothing says why."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from canonical.faults import Unavailable
from policies.identity.issuer import Issuer
from policies.identity.jwks import usable
from policies.identity.key_ring import KeyRing
from policies.store.documents import FileDocument
from tests.support.governed_app import NOW, READER, Door

RSA = generate_rsa_key(65537, 2048)
WEAK = generate_rsa_key(65537, 1024)  # noqa: S505 – to be refused
EC = generate_private_key(SECP256R1())
EC384 = generate_private_key(SECP384R1())
SECONDS = int(NOW.timestamp())
PATH = "/shop/v1/read"


def jwk(key: Any, name: str, **members: Any) -> dict[str, Any]:
    algorithm: Any = (
        RSAAlgorithm if hasattr(key, "public_numbers") and hasattr(key.public_numbers(), "n") else ECAlgorithm
    )
    return json.loads(algorithm.to_jwk(key)) | {"kid": name} | members


class Lock(Door):
    """A door with a key of each kind that is taken, and of some that are not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.jwks += [
            jwk(RSA.public_key(), "rsa"),
            jwk(EC.public_key(), "ec", alg="ES256"),
            jwk(WEAK.public_key(), "weak"),
            jwk(EC384.public_key(), "p384"),
            jwk(RSA.public_key(), "encryption", use="enc"),
            jwk(RSA.public_key(), "other-algorithm", alg="PS256"),
            {"kty": "oct", "k": b64(b"s" * 32), "kid": "shared", "alg": "HS256"},
            {"kty": "RSA", "n": "AQAB", "kid": "broken"},
        ]

    @property
    def own(self) -> str:
        return str(self.jwks[0]["kid"])

    def claims(self, **changes: Any) -> dict[str, Any]:
        good: dict[str, Any] = jwt.decode(self.issuer.token("someone", READER), options={"verify_signature": False})
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(
        self, header: dict[str, Any] | None = None, key: Any = None, algorithm: str = "EdDSA", **claims: Any
    ) -> str:
        """Return a token that is good but for what is given."""
        headers = {"typ": "at+jwt", "kid": self.own} | (header or {})
        return jwt.encode(self.claims(**claims), self.key if key is None else key, algorithm=algorithm, headers=headers)

    def signed(self, header: bytes, payload: bytes) -> str:
        """Whatever bytes, signed with the issuer's own key."""
        body = f"{b64(header)}.{b64(payload)}"
        return f"{body}.{b64(self.key.sign(body.encode()))}"

    def hmac(self, secret: bytes, header: dict[str, Any]) -> str:
        """Signed with a secret, without a library that would refuse to."""
        body = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(self.claims()).encode())}"
        return f"{body}.{b64(hmac.digest(secret, body.encode(), 'sha256'))}"

    def status(self, authorization: str) -> int:
        return self.client.get(PATH, headers={"authorization": authorization}).status_code


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.fixture
def lock(tmp_path: Path) -> Generator[Lock]:
    made = Lock(tmp_path)
    with made.client:
        yield made


@pytest.mark.parametrize(
    ("name", "key", "algorithm"), [("", None, "EdDSA"), ("rsa", RSA, "RS256"), ("ec", EC, "ES256")]
)
def test_a_good_token_of_each_kind_opens(lock: Lock, name: str, key: Any, algorithm: str) -> None:
    token = lock.token({"kid": name or lock.own}, key, algorithm)

    assert lock.status(f"Bearer {token}") == 200


def test_a_token_without_what_an_oidc_issuer_leaves_out_opens(lock: Lock) -> None:
    assert lock.status(f"Bearer {lock.token(nbf=None, entities=None)}") == 200
    assert lock.status(f"Bearer {lock.token({'typ': 'application/at+jwt'})}") == 200


PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NESTED = b'{"typ":' + b"[" * 1200 + b"]" * 1200 + b"}"


HOUR = 3600
KINDS = (("ec", EC, "ES256"), ("rsa", RSA, "RS256"))


def away() -> None:
    raise Unavailable("issuer", "it is away")


def parts(lock: Lock) -> list[str]:
    return lock.token().split(".")


ATTACKS: dict[str, Callable[[Lock], str]] = {
    # nothing, or something else
    "no header": lambda _: "",
    "another scheme": lambda lock: f"Basic {lock.token()}",
    "no token": lambda _: "Bearer ",
    "not a token": lambda _: "Bearer abc",
    "only dots": lambda _: "Bearer ..",
    "five parts": lambda lock: f"Bearer {lock.token()}.a.b",
    "oversized": lambda lock: f"Bearer {lock.token(filler='x' * 5000)}",
    "a blank inside": lambda lock: "Bearer " + lock.token().replace(".", ". ", 1),
    "bytes that are no text": lambda _: "Bearer \u00ff\u00fe\u00fd",
    # the same token, written in another way: its hash is another, and so would be the id by which it is revoked
    "padding": lambda lock: f"Bearer {lock.token()}==",
    "padding of the head": lambda lock: "Bearer " + lock.token().replace(".", "=.", 1),
    "a character that base64 leaves out": lambda lock: f"Bearer {lock.token()}!",
    "a line feed at the end": lambda lock: f"Bearer {lock.token()}\n",
    "bits that are ignored": lambda lock: f"Bearer {lock.token()[:-1]}{chr(ord(lock.token()[-1]) + 1)}",
    # broken at each dot
    "no head": lambda lock: "Bearer ." + ".".join(parts(lock)[1:]),
    "no payload": lambda lock: f"Bearer {parts(lock)[0]}..{parts(lock)[2]}",
    "no signature": lambda lock: "Bearer " + ".".join(parts(lock)[:2]),
    "an empty signature": lambda lock: "Bearer " + ".".join(parts(lock)[:2]) + ".",
    "a cut signature": lambda lock: f"Bearer {lock.token()[:-4]}",
    "a head that is no base64": lambda lock: f"Bearer !{lock.token()}",
    "a payload that is no base64": lambda lock: "Bearer " + lock.token().replace(".", ".!", 1),
    "a head that is no JSON": lambda lock: f"Bearer {lock.signed(b'{', b'{}')}",
    "a head that is a list": lambda lock: f"Bearer {lock.signed(b'[]', b'{}')}",
    "a payload that is a list": lambda lock: (
        f"Bearer {lock.signed(json.dumps({'alg': 'EdDSA', 'typ': 'at+jwt', 'kid': lock.own}).encode(), b'[]')}"
    ),
    "a head nested too deeply": lambda lock: f"Bearer {lock.signed(NESTED, b'{}')}",
    "another payload": lambda lock: (
        f"Bearer {parts(lock)[0]}.{b64(json.dumps(lock.claims(sub='root')).encode())}.{parts(lock)[2]}"
    ),
    # algorithms and keys
    "alg none": lambda lock: (
        f"Bearer {b64(json.dumps({'alg': 'none', 'typ': 'at+jwt', 'kid': lock.own}).encode())}.{parts(lock)[1]}."
    ),
    "alg NoNe with a signature": lambda lock: (
        "Bearer "
        f"{b64(json.dumps({'alg': 'NoNe', 'typ': 'at+jwt', 'kid': lock.own}).encode())}."
        f"{parts(lock)[1]}.{parts(lock)[2]}"
    ),
    "no alg": lambda lock: (
        "Bearer "
        f"{lock.signed(json.dumps({'typ': 'at+jwt', 'kid': lock.own}).encode(), json.dumps(lock.claims()).encode())}"
    ),
    "the public key as a secret": lambda lock: (
        f"Bearer {lock.hmac(PEM, {'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'rsa'})}"
    ),
    "the key id as a secret": lambda lock: (
        f"Bearer {lock.hmac(lock.own.encode(), {'alg': 'HS256', 'typ': 'at+jwt', 'kid': lock.own})}"
    ),
    "a shared secret of the key set": lambda lock: (
        f"Bearer {lock.hmac(b's' * 32, {'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'shared'})}"
    ),
    "another key of the same kind": lambda lock: f"Bearer {lock.token(key=Ed25519PrivateKey.generate())}",
    "a key under another's id": lambda lock: f"Bearer {lock.token({'kid': 'rsa'})}",
    "another algorithm of the same key": lambda lock: f"Bearer {lock.token({'kid': 'rsa'}, RSA, 'PS256')}",
    "a longer hash of the same key": lambda lock: f"Bearer {lock.token({'kid': 'rsa'}, RSA, 'RS512')}",
    "a weak key": lambda lock: f"Bearer {lock.token({'kid': 'weak'}, WEAK, 'RS256')}",
    "another curve": lambda lock: f"Bearer {lock.token({'kid': 'p384'}, EC384, 'ES384')}",
    "a key for encryption": lambda lock: f"Bearer {lock.token({'kid': 'encryption'}, RSA, 'RS256')}",
    "a key for another algorithm": lambda lock: f"Bearer {lock.token({'kid': 'other-algorithm'}, RSA, 'RS256')}",
    # key ids and keys that come along
    "no key id": lambda lock: (
        "Bearer "
        f"{lock.signed(json.dumps({'alg': 'EdDSA', 'typ': 'at+jwt'}).encode(), json.dumps(lock.claims()).encode())}"
    ),
    "an unknown key id": lambda lock: f"Bearer {lock.token({'kid': 'unknown'})}",
    "a key id that is a path": lambda lock: f"Bearer {lock.token({'kid': '../../../../dev/null'})}",
    "a key id that is a query": lambda lock: f"Bearer {lock.token({'kid': chr(39) + ' OR 1=1 --'})}",
    "a key id that is an address": lambda lock: f"Bearer {lock.token({'kid': 'http://127.0.0.1:1/keys'})}",
    "a key id that is a list": lambda lock: (
        "Bearer "
        + lock.signed(
            json.dumps({"alg": "EdDSA", "typ": "at+jwt", "kid": [lock.own]}).encode(),
            json.dumps(lock.claims()).encode(),
        )
    ),
    "an embedded key": lambda lock: f"Bearer {lock.token({'jwk': lock.jwks[0]})}",
    "an address of keys": lambda lock: f"Bearer {lock.token({'jku': 'https://example.com/keys'})}",
    "an embedded certificate": lambda lock: f"Bearer {lock.token({'x5c': ['MIIB']})}",
    "an address of a certificate": lambda lock: f"Bearer {lock.token({'x5u': 'https://example.com/c'})}",
    "a critical extension": lambda lock: f"Bearer {lock.token({'crit': ['b64'], 'b64': True})}",
    "compression": lambda lock: f"Bearer {lock.token({'zip': 'DEF'})}",
    # what it is, for whom, from whom
    "an id token": lambda lock: f"Bearer {lock.token({'typ': 'JWT'})}",
    "a logout token": lambda lock: f"Bearer {lock.token({'typ': 'logout+jwt'})}",
    "no type": lambda lock: f"Bearer {lock.token({'typ': None})}",
    "another issuer": lambda lock: f"Bearer {lock.token(iss='mallory')}",
    "an issuer that begins alike": lambda lock: f"Bearer {lock.token(iss='tiergate-local.example.com')}",
    "replayed from another layer": lambda lock: f"Bearer {lock.token(aud='tiergate:process')}",
    "for several layers": lambda lock: f"Bearer {lock.token(aud=['tiergate:experience', 'tiergate:process'])}",
    "no audience": lambda lock: f"Bearer {lock.token(aud=None)}",
    "no client": lambda lock: f"Bearer {lock.token(client_id=None)}",
    "an empty client": lambda lock: f"Bearer {lock.token(client_id='')}",
    "a client that is a list": lambda lock: f"Bearer {lock.token(client_id=['someone'])}",
    "a client that the catalogue lacks": lambda lock: f"Bearer {lock.token(client_id='nobody')}",
    "no id": lambda lock: f"Bearer {lock.token(jti=None)}",
    "an empty id, by which it could not be revoked": lambda lock: f"Bearer {lock.token(jti='')}",
    "a subject of blanks": lambda lock: f"Bearer {lock.token(sub=' ')}",
    "a subject that is too long to be kept": lambda lock: f"Bearer {lock.token(sub='s' * 121)}",
    "no scope": lambda lock: f"Bearer {lock.token(scope=None)}",
    "a scope that is a list": lambda lock: f"Bearer {lock.token(scope=['shop:read'])}",
    "legal entities that are a text": lambda lock: f"Bearer {lock.token(entities='*')}",
    # when
    "expired": lambda lock: f"Bearer {lock.token(exp=SECONDS - 60)}",
    "no expiry": lambda lock: f"Bearer {lock.token(exp=None)}",
    "an expiry that is true": lambda lock: f"Bearer {lock.token(exp=True)}",
    "an expiry that is a text": lambda lock: f"Bearer {lock.token(exp=str(SECONDS + 60))}",
    "an expiry that is a fraction": lambda lock: f"Bearer {lock.token(exp=SECONDS + 60.5)}",
    "an endless life": lambda lock: f"Bearer {lock.token(exp=SECONDS + 10 * 365 * 86400)}",
    "not valid yet": lambda lock: f"Bearer {lock.token(nbf=SECONDS + 3600)}",
    "from the future": lambda lock: f"Bearer {lock.token(iat=SECONDS + 3600)}",
    "no time of issue": lambda lock: f"Bearer {lock.token(iat=None)}",
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.filterwarnings("ignore:The RSA key is 1024 bits long")
def test_an_attack_is_refused_and_nothing_says_why(lock: Lock, name: str) -> None:
    authorization = ATTACKS[name](lock).encode("latin-1")

    answer = lock.client.get(PATH, headers=[(b"authorization", authorization)])

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "No valid access token for this layer was sent."
    assert answer.headers.get_list("x-correlation-id") == [answer.json()["correlation_id"]]


def test_there_are_at_least_forty_attacks() -> None:
    assert len(ATTACKS) >= 40


# ---- rotation


def test_a_key_that_the_issuer_has_just_begun_to_use_is_looked_for(lock: Lock) -> None:
    new = generate_private_key(SECP256R1())
    assert lock.status(f"Bearer {lock.token()}") == 200
    lock.jwks.append(jwk(new.public_key(), "new"))
    lock.now += timedelta(seconds=31)

    assert lock.status(f"Bearer {lock.token({'kid': 'new'}, new, 'ES256')}") == 200
    assert lock.fetched == 2


def test_unknown_key_ids_make_us_ask_at_a_bounded_rate(lock: Lock) -> None:
    for number in range(50):
        assert lock.status(f"Bearer {lock.token({'kid': f'unknown-{number}'})}") == 401

    assert lock.fetched == 1


def test_a_key_that_the_issuer_withdraws_is_dropped_with_the_tokens_that_it_has_signed(lock: Lock) -> None:
    verified, rsa = (f"Bearer {lock.token({'kid': name}, key, of, exp=SECONDS + 900)}" for name, key, of in KINDS)
    assert (lock.status(verified), lock.status(rsa)) == (200, 200)
    lock.jwks = [each for each in lock.jwks if each["kid"] != "ec"]
    lock.now += timedelta(seconds=601)

    assert lock.status(f"Bearer {lock.token({'kid': 'ec'}, EC, 'ES256', exp=SECONDS + 900)}") == 401
    assert (lock.status(verified), lock.status(rsa)) == (401, 200), "they were verified before"


def test_another_key_under_the_same_id_ends_the_tokens_of_the_first(lock: Lock) -> None:
    verified = f"Bearer {lock.token({'kid': 'ec'}, EC, 'ES256', exp=SECONDS + 900)}"
    assert lock.status(verified) == 200
    lock.jwks = [each for each in lock.jwks if each["kid"] != "ec"]
    lock.jwks.append(jwk(generate_private_key(SECP256R1()).public_key(), "ec"))
    lock.now += timedelta(seconds=601)

    assert lock.status(verified) == 401


def test_keys_that_cannot_be_read_for_a_day_are_dropped(lock: Lock) -> None:
    assert lock.status(f"Bearer {lock.token()}") == 200
    lock.while_fetching = away
    lock.now += timedelta(hours=23)
    assert lock.status(f"Bearer {lock.token(iat=HOUR + SECONDS, exp=24 * HOUR + SECONDS)}") == 200

    lock.now += timedelta(hours=2)

    assert lock.status(f"Bearer {lock.token(iat=25 * HOUR + SECONDS, exp=26 * HOUR + SECONDS)}") == 401


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": None},
        {"key_ops": 1},
        {"alg": "HS256"},
        {"kty": "oct"},
        {"e": "!"},
    ],
)
def test_a_key_that_is_not_for_our_use_is_left_out(members: dict[str, Any]) -> None:
    good = jwk(RSA.public_key(), "rsa")

    assert usable(good) is not None
    assert usable(good | members) is None


# ---- revocation


def test_a_revoked_token_is_refused_though_it_was_verified_before_and_others_go_on(lock: Lock) -> None:
    first, second = lock.token(jti="first"), lock.token(jti="second")
    assert lock.status(f"Bearer {first}") == 200

    asyncio.run(lock.revocations.revoke(token="first"))

    assert (lock.status(f"Bearer {first}"), lock.status(f"Bearer {second}")) == (401, 200)


def test_a_revoked_token_is_not_handed_out_again(lock: Lock, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "key.pem", FileDocument(tmp_path / "published.json"), lock.clock)
    ring.tend()
    issuer = Issuer(ring, lock.clock, lock.revocations)
    first = issuer.token("someone", READER)
    assert issuer.token("someone", READER) == first, "a token is reused"

    asyncio.run(lock.revocations.revoke(client="someone"))
    second = issuer.token("someone", READER)  # in the same second

    assert lock.client.get(PATH, headers={"authorization": f"Bearer {first}"}).status_code == 401
    assert lock.client.get(PATH, headers={"authorization": f"Bearer {second}"}).status_code == 200


def test_all_that_a_client_got_is_revoked_and_what_it_gets_later_is_good(lock: Lock) -> None:
    old = lock.token()
    assert lock.status(f"Bearer {old}") == 200

    asyncio.run(lock.revocations.revoke(client="someone"))
    assert lock.status(f"Bearer {old}") == 401

    lock.now += timedelta(minutes=5)
    assert lock.status(f"Bearer {lock.token(filler='new')}") == 200


def test_a_token_is_kept_by_its_hash_and_never_as_it_is(lock: Lock) -> None:
    token = lock.token()
    lock.status(f"Bearer {token}")

    kept = vars(lock.verifier)["_cache"]
    assert hashlib.sha256(f"Bearer {token}".encode()).digest() in kept
    assert token not in repr(kept)
