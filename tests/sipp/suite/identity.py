"""Identity headers at run time from a recipe: a good PASSporT by this project's signer, and the recipe's deviation.

What deviates inside a valid signature is signed again here with cryptography alone, so that our rules cannot hide it.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import Issued
from kamailio_app.passport.claims import Attestation
from tests.sipp.suite.certificates import CERTIFICATES, URLS, Certificates
from tests.sipp.suite.strict import ScenarioError, known

FROZEN: Final = Path(__file__).resolve().parents[1] / "frozen"
MAKERS: Final = ("core", "secsipidx")
_LEVELS: Final = tuple(level.value for level in Attestation)

# What the claims are made to say before they are signed, beside orders and spaces: no JSON object that a TOML file could hold
_SPELT: Final[dict[str, Callable[[bytes], bytes]]] = {
    "twice": lambda octets: octets.replace(b'"attest":', b'"attest":"A","attest":', 1),
    "iat-text": lambda octets: re.sub(rb'"iat":(\d+)', rb'"iat":"\1"', octets),
    "iat-fraction": lambda octets: re.sub(rb'"iat":(\d+)', rb'"iat":\1.0', octets),
    "iat-exponent": lambda octets: re.sub(rb'"iat":(\d)(\d{9})', rb'"iat":\1.\2e9', octets),
    "dest-text": lambda octets: re.sub(rb'"tn":\["(\d+)"\]', rb'"tn":"\1"', octets),
    "orig-array": lambda octets: re.sub(rb'"orig":{"tn":"(\d+)"}', rb'"orig":{"tn":["\1"]}', octets),
    "array": lambda octets: b"[" + octets + b"]",
    "not-a-number": lambda octets: octets.replace(b"{", b'{"a":NaN,', 1),
    "nested": lambda octets: octets.replace(b"{", b'{"a":' + b"[" * 900 + b"]" * 900 + b",", 1),
    "not-utf-8": lambda octets: octets.replace(b"{", b'{"a":"\xe9",', 1),
    "rest": lambda octets: octets + b"{}",
}
SPELLINGS: Final = ("deterministic", "spaced", "reversed", *_SPELT)


@dataclass(frozen=True)
class Recipe:
    """One Identity header. Seconds in `age` below zero lie in the future; `caller` and `called` "" are the call's own.

    `ppt`: of another type than shaken, with that type's claims: `div` says who diverted the call, what is in `claims` the rest.
    """

    age: float = 0
    caller: str = ""
    called: tuple[str, ...] = ()
    attest: str = "A"
    origid: str = ""
    ppt: str = "shaken"
    div: str = ""
    certificate: str = "good"
    x5u: str = "chain"
    # Inside the signature: members set, members left out, and how the JSON is spelt
    claims: dict[str, Any] = field(default_factory=dict)
    claims_without: tuple[str, ...] = ()
    jose: dict[str, Any] = field(default_factory=dict)
    jose_without: tuple[str, ...] = ()
    spelling: str = "deterministic"
    # What is done to it after it was signed, in this order
    tamper: tuple[str, ...] = ()
    # What stands behind the PASSporT; {x5u} is the URL, {ppt} the type
    parameters: str = ";info=<{x5u}>;alg=ES256;ppt={ppt}"
    # In place of all that: verbatim, or a file of tests/sipp/frozen
    raw: str | None = None
    frozen: str = ""
    # The one that was made under this name in an earlier case of the scenario, once more
    again: str = ""
    maker: str = "core"
    # The header field: its name, how often, and with "joined" in one field with the one before
    name: str = "Identity"
    times: int = 1
    joined: bool = False

    @property
    def plain(self) -> bool:
        """Is it what our signer makes, as it makes it?"""
        changed = (self.claims, self.claims_without, self.jose, self.jose_without, self.origid, self.certificate != "good")
        return not any(changed) and self.spelling == "deterministic" and len(self.called) < 2 and self.ppt == "shaken"


class Parts(NamedTuple):
    """The three texts of a PASSporT's full form."""

    header: str
    payload: str
    signature: str

    def digest(self, **others: str) -> str:
        """The full form, with other texts for some."""
        return ".".join(self._replace(**others))


def _changed(text: str) -> str:
    """Another text of the same length: one character in its middle is another."""
    middle = len(text) // 2
    return text[:middle] + ("A" if text[middle] != "A" else "B") + text[middle + 1 :]


def _edited(text: str, old: str, new: str) -> str:
    """Its JSON with the first `old` made `new`."""
    json_text = _octets(text).decode()
    assert old in json_text, f"nothing to change: {old}"
    return _text(json_text.replace(old, new, 1).encode())


def _der(signature: str) -> str:
    octets = _octets(signature)
    half = len(octets) // 2
    return _text(encode_dss_signature(int.from_bytes(octets[:half], "big"), int.from_bytes(octets[half:], "big")))


def _with_loose_bits(text: str) -> str:
    """The same octets to whoever does not look at the bits that nobody uses."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) + 1]


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


# What is done to a finished PASSporT: its texts -> the text in front of the parameters
TAMPERINGS: Final[dict[str, Callable[[Parts], str]]] = {
    "signature": lambda p: p.digest(signature=_changed(p.signature)),
    "payload": lambda p: p.digest(payload=_edited(p.payload, '"origid":"', '"origid":"0')),
    "attest": lambda p: p.digest(payload=_edited(p.payload, '"attest":"C"', '"attest":"A"')),
    "header": lambda p: p.digest(header=_edited(p.header, "{", '{"a":1,')),
    "zero-signature": lambda p: p.digest(signature=_text(bytes(64))),
    "der-signature": lambda p: p.digest(signature=_der(p.signature)),
    "short-signature": lambda p: p.digest(signature=p.signature[:-6]),
    "long-signature": lambda p: p.digest(signature=p.signature + "AAAA"),
    "no-signature": lambda p: p.digest(signature=""),
    "two-parts": lambda p: f"{p.header}.{p.payload}",
    "four-parts": lambda p: f"{p.digest()}.{p.signature}",
    "compact": lambda p: f"..{p.signature}",
    "not-base64url": lambda p: p.digest(payload=f"{p.payload[:8]}!{p.payload[9:]}"),
    "loose-bits": lambda p: p.digest(signature=_with_loose_bits(p.signature)),
    "padded": lambda p: Parts(*map(_padded, p)).digest(),
    "not-json": lambda p: p.digest(payload=_edited(p.payload, "}", "")),
    "large": lambda p: p.digest(payload="A" * 20_000),
    "large-header": lambda p: p.digest(header="A" * 5_000),
    "folded": lambda p: p.digest(payload=f"\r\n {p.payload}"),
}


def check_names(recipe: Recipe, where: str) -> None:
    """Errors: ScenarioError."""
    known(recipe.certificate, CERTIFICATES, "certificate", where)
    if "://" not in recipe.x5u:
        known(recipe.x5u, URLS, "x5u", where)
    known(recipe.maker, MAKERS, "maker", where)
    known(recipe.spelling, SPELLINGS, "spelling", where)
    for name in recipe.tamper:
        known(name, TAMPERINGS, "tampering", where)
    if recipe.frozen and not (FROZEN / f"{recipe.frozen}.identity").is_file():
        raise ScenarioError(where, f"no file frozen/{recipe.frozen}.identity")


def headers(
    recipes: tuple[Recipe, ...],
    network: Network,
    certificates: Certificates,
    caller: str,
    called: str,
    *,
    made: dict[str, str] | None = None,
) -> list[str]:
    """Whole header lines. `made`: the values that are to be sent again, by their name. Errors: NotPublishedError."""
    made = {} if made is None else made
    lines: list[str] = []
    for recipe in recipes:
        for _ in range(recipe.times):
            value = made.get(recipe.again) or _value(recipe, network, certificates, caller, called)
            if recipe.again:
                made[recipe.again] = value
            if recipe.joined and lines:
                lines[-1] += f", {value}"
            else:
                lines.append(f"{recipe.name}: {value}")
    return lines


def _value(recipe: Recipe, network: Network, certificates: Certificates, caller: str, called: str) -> str:
    if recipe.raw is not None:
        return recipe.raw
    if recipe.frozen:
        return (FROZEN / f"{recipe.frozen}.identity").read_text().strip()
    issued, x5u = certificates[recipe.certificate], certificates.x5u(recipe.x5u, recipe.certificate)
    caller, called_ = recipe.caller or caller, recipe.called or (called,)
    if recipe.maker == "secsipidx":
        made = by_secsipidx(recipe, issued, x5u, caller, called_[0])
    else:
        attest = Attestation(recipe.attest) if recipe.attest in _LEVELS else Attestation.FULL
        made = network.identity(x5u=x5u, caller=caller, called=called_[0], attest=attest, age=recipe.age)
    digest, semicolon, parameters = made.partition(";")
    parts = Parts(*digest.split("."))
    if not recipe.plain or recipe.attest not in _LEVELS:
        parts = _signed_again(parts, recipe, called_, issued.key)
    for name in recipe.tamper:
        digest = TAMPERINGS[name](parts)
        if digest.count(".") == 2:
            parts = Parts(*digest.split("."))
    digest = digest if recipe.tamper else parts.digest()
    if recipe.maker == "secsipidx" and recipe.parameters == Recipe.parameters:
        return digest + semicolon + parameters
    return digest + recipe.parameters.replace("{x5u}", x5u).replace("{ppt}", recipe.ppt)


def _signed_again(parts: Parts, recipe: Recipe, called: tuple[str, ...], key: EllipticCurvePrivateKey) -> Parts:
    jose, claims = json.loads(_octets(parts.header)), json.loads(_octets(parts.payload))
    if recipe.ppt == "shaken":
        claims["attest"] = recipe.attest
    else:
        jose["ppt"] = recipe.ppt
        # RFC 8588: these two are shaken's own
        del claims["attest"], claims["origid"]
    if recipe.div:
        claims["div"] = {"tn": recipe.div.lstrip("+")}
    if recipe.origid:
        claims["origid"] = recipe.origid
    if len(called) > 1:
        claims["dest"] = {"tn": sorted(number.lstrip("+") for number in called)}
    jose = {name: value for name, value in (jose | recipe.jose).items() if name not in recipe.jose_without}
    claims = {name: value for name, value in (claims | recipe.claims).items() if name not in recipe.claims_without}
    spelt = _SPELT.get(recipe.spelling, bytes)
    header, payload = _text(_json(jose, recipe.spelling)), _text(spelt(_json(claims, recipe.spelling)))
    return Parts(header, payload, _text(sign(f"{header}.{payload}".encode(), key, str(jose.get("alg", "ES256")))))


def _json(members: dict[str, Any], spelling: str) -> bytes:
    separators = (", ", ": ") if spelling == "spaced" else (",", ":")
    names = sorted(members, reverse=spelling == "reversed")
    return json.dumps({name: members[name] for name in names}, separators=separators, ensure_ascii=False).encode()


def sign(octets: bytes, key: EllipticCurvePrivateKey, alg: str) -> bytes:
    """A JWS signature as the header names it: none, HS256 with the public key as secret, else ECDSA in JOSE form."""
    if alg == "none":
        return b""
    if alg == "HS256":
        mac = HMAC(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), SHA256())
        mac.update(octets)
        return mac.finalize()
    size = (key.curve.key_size + 7) // 8
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(key.sign(octets, ECDSA(SHA256()))))


def by_secsipidx(recipe: Recipe, issued: Issued, x5u: str, caller: str, called: str) -> str:
    """An Identity value by the independent program. Errors: RuntimeError with its words."""
    with tempfile.NamedTemporaryFile(suffix=".key") as file:
        file.write(issued.key_pem)
        file.flush()
        command = ["secsipidx", "-sign-full", "-orig-tn", caller.lstrip("+"), "-dest-tn", called.lstrip("+")]
        command += ["-attest", recipe.attest, "-x5u", x5u, "-fprvkey", file.name]
        run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    if run.returncode:
        raise RuntimeError(f"secsipidx: {run.stdout}{run.stderr}")
    return run.stdout.strip()


def _octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
