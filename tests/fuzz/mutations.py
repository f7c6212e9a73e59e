"""Identity header fields that nobody sends: seeds, and what may be done to them. Everything comes from one random source."""

from __future__ import annotations

import json
import random
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from kamailio_app.passport import es256
from tests.unit.builders import CLAIMS, DEST, JOSE, NOW, ORIG, X5U, b64, changed, provider, signed, to_json

OTHER_TN: Final = "12155550199"
OTHER_X5U: Final = "https://cr.example.test/1234/other.pem"


class Field(NamedTuple):
    """An Identity header field, and the signing inputs in it that were really signed."""

    text: str
    signed: frozenset[str]


def _value(ppt: str, claims: dict[str, Any], jose: dict[str, Any] | None = None) -> str:
    header = to_json(changed(JOSE, {"ppt": ppt, **(jose or {})}))
    return f"{signed(header, to_json(claims))};info=<{X5U}>;alg=ES256;ppt={ppt}"


@cache
def seeds() -> tuple[str, ...]:
    """One of each kind that we verify, and their usual company."""
    base = {name: CLAIMS[name] for name in ("dest", "iat", "orig")}
    shaken = _value("shaken", CLAIMS)
    to_other = _value("shaken", {**CLAIMS, "dest": {"tn": [OTHER_TN]}})
    div = _value("div", {**base, "div": {"tn": OTHER_TN}})
    return (
        shaken,
        _value("shaken", {**CLAIMS, "dest": {"tn": [DEST, OTHER_TN], "uri": ["sip:alice@example.net"]}}),
        f"{to_other}, {div}",
        f"{shaken}, {_value('rcd', {**base, 'rcd': {'nam': 'Example'}, 'crn': 'Rates'})}",
        _value("shaken", {**CLAIMS, "rcd": {"nam": "Example", "jcd": ["vcard", [["fn", {}, "text", "Q"]]]}}),
        f"{shaken}, {_value('rph', {**base, 'rph': {'auth': ['ets.0']}})}",
        f"..{shaken.split(';', maxsplit=1)[0].rpartition('.')[2]};info=<{X5U}>;alg=ES256",
    )


_PIECES: Final = (
    *("..", ".", ";", ",", "=", "<", ">", '"', "\\", " ", "\t", "\r\n ", "\r\n", "\0", "%00", "é", "\udce9", "\U0001f600"),
    *(";info=", ";alg=none", ";alg=HS256", ";ppt=shaken", ";ppt=div", ";ppt=", f";info=<{X5U}>", f";info=<{OTHER_X5U}>"),
    *("eyJhbGciOiJub25lIn0", "A" * 5000, "{", "[" * 500, "null", "true", "-0", "1e999", "9" * 400, '{"a":1,"a":2}'),
)
_ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1.5, 1 << 70, "", "x", "+", "A", "a", [], {}, [[]], {"tn": []}, {"tn": ORIG}, {"tn": [DEST]}),
    *({"tn": [f"+{DEST}"]}, {"tn": [1]}, {"uri": ["sip:x"]}, {"tn": [DEST], "uri": []}, NOW, NOW - 61, NOW + 61, str(NOW)),
    *("\0", "\ud800", "é" * 300, "A" * 10_000, {"nam": 1}, {"auth": "ets.0"}, ["ets.0"], {"x": {"x": {"x": {"x": 1}}}}),
)  # fmt: skip


def _flip(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + chr(chance.choice((chance.randrange(128), chance.randrange(0x110000)))) + text[place + 1 :]


def _drop(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + text[place + chance.choice((1, 2, 7, 64, 4000)) :]


def _insert(chance: random.Random, text: str) -> str:
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice(_PIECES) + text[place:]


def _repeat(chance: random.Random, text: str) -> str:
    begin = chance.randrange(len(text) + 1)
    piece = text[begin : begin + chance.choice((1, 3, 30, 300))]
    return text[:begin] + piece * chance.choice((2, 3, 50)) + text[begin:]


def _splice(chance: random.Random, text: str) -> str:
    other = chance.choice(seeds())
    return text[: chance.randrange(len(text) + 1)] + other[chance.randrange(len(other)) :]


def _swap(chance: random.Random, text: str) -> str:
    """Parts of a PASSporT, or parameters, in another order."""
    mark = chance.choice((".", ";", ","))
    parts = text.split(mark)
    chance.shuffle(parts)
    return mark.join(parts)


_ON_TEXT: Final[tuple[Callable[[random.Random, str], str], ...]] = (_flip, _drop, _insert, _repeat, _splice, _swap)


def _decoded(part: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=="))
    return members


def _change(chance: random.Random, members: dict[str, Any]) -> dict[str, Any]:
    name = chance.choice([*members, "div", "opt", "rcd", "rcdi", "crn", "rph", "sph", "mky", "x5u", "ppt"])
    if chance.random() < 0.2:
        members.pop(name, None)
        return members
    members[name] = chance.choice(_ODD) if chance.random() < 0.7 else members.get(chance.choice(list(members)))
    return members


def _in_json(chance: random.Random, members: dict[str, Any]) -> bytes:
    """Mostly deterministic JSON, else other JSON, else none."""
    octets = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    match chance.randrange(10):
        case 0:
            return json.dumps(members, indent=1).encode()
        case 1:
            return _flip(chance, octets.decode("latin-1")).encode("utf-8", "surrogatepass")
        case 2:
            return octets.replace(b"{", b'{"iat":1,', 1)
    return octets


def mutated(chance: random.Random) -> Field:
    """One field. Half of them are changed and signed again, so that they get beyond the signature."""
    text = chance.choice(seeds())
    inputs = {value.split(";")[0].rpartition(".")[0].strip() for seed in seeds() for value in seed.split(",")}
    if chance.random() < 0.5:
        digest, semicolon, parameters = text.partition(";")
        header, payload, _signature = digest.split(".")
        jose, claims = (_decoded(header), _decoded(payload)) if header else (dict(JOSE), dict(CLAIMS))
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            if chance.random() < 0.25:
                jose = _change(chance, jose)
            else:
                claims = _change(chance, claims)
        header, payload = (b64(_in_json(chance, part)) for part in (jose, claims))
        text = _signed_again(header, payload) + semicolon + parameters
        inputs.add(f"{header}.{payload}")
        changes = chance.choice((0, 0, 0, 1))
    else:
        changes = chance.choice((1, 1, 1, 2, 4))
    for _ in range(changes):
        text = chance.choice(_ON_TEXT)(chance, text)
    return Field(text, frozenset(inputs))


def _signed_again(header: str, payload: str) -> str:
    return f"{header}.{payload}.{b64(es256.sign(f'{header}.{payload}'.encode(), provider().key))}"
