"""PASSporTs of the types that go with a shaken one, as values."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.passport.div import DivClaims
from kamailio_app.passport.extension import EXTENSIONS, ExtensionPassport, extension_passport
from kamailio_app.passport.passport import jose_header
from kamailio_app.passport.rcd import RcdClaims
from kamailio_app.passport.rph import RphClaims

from ..builders import DEST, JOSE, NOW, ORIG, refused, signed, to_json

BASE: dict[str, Any] = {"dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}}
CLAIMS: dict[str, dict[str, Any]] = {
    "div": {**BASE, "div": {"tn": DEST}},
    "rph": {**BASE, "rph": {"auth": ["ets.0"]}},
    "rcd": {**BASE, "rcd": {"nam": "Alice"}},
}


def read(ppt: str, payload: bytes) -> ExtensionPassport:
    text = signed(to_json({**JOSE, "ppt": ppt}), payload)
    return extension_passport(text, jose_header(text.partition(".")[0]))


@pytest.mark.parametrize(("ppt", "kind"), [("div", DivClaims), ("rph", RphClaims), ("rcd", RcdClaims)])
def test_each_type_has_its_claims(ppt: str, kind: type) -> None:
    assert isinstance(read(ppt, to_json(CLAIMS[ppt])).claims, kind)


def test_these_are_all_types() -> None:
    assert CLAIMS.keys() == EXTENSIONS


@pytest.mark.parametrize("ppt", ["shaken", "div-o", "msec", "", "DIV"])
def test_other_types_are_none_of_them(ppt: str) -> None:
    with refused("ppt_mismatch"):
        read(ppt, to_json(CLAIMS["div"]))


def test_octets_are_kept_as_received_and_all_claims_with_them() -> None:
    payload = b' {"x" : 1, ' + to_json(CLAIMS["div"])[1:]
    text = signed(to_json({**JOSE, "ppt": "div"}), payload)
    passport = extension_passport(text, jose_header(text.partition(".")[0]))
    assert passport.signing_input.decode() == text.rpartition(".")[0]
    assert passport.payload() == {"x": 1, **CLAIMS["div"]}
    assert len(passport.signature) == 64


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"iat":1,"iat":1}', b"\xff"])
def test_payload_that_is_no_object(payload: bytes) -> None:
    with refused("passport_malformed"):
        read("div", payload)


def test_signature_that_is_no_base64url() -> None:
    text = signed(to_json({**JOSE, "ppt": "div"}), to_json(CLAIMS["div"]))
    with refused("passport_malformed"):
        extension_passport(f"{text[:-1]}B", jose_header(text.partition(".")[0]))
