"""The Identity header field: whatever a peer sends ends in a verdict, and only what was signed is valid."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from time import process_time
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st

from kamailio_app.errors import FAILED, FAILURES, NOT_VALIDATED, PASSED
from kamailio_app.identity import MAX_MERGED_OCTETS, parse_identity, split_values
from kamailio_app.passport.claims import Attestation, shaken_claims
from kamailio_app.passport.encoding import canonical_json, from_base64url, json_object, to_base64url
from kamailio_app.passport.es256 import sign as es256_sign
from kamailio_app.sip import Request
from kamailio_app.sti_as import sign
from kamailio_app.sti_vs import VerificationRules, conclude, examine
from kamailio_app.verdict import Verification

from .support import DEST, INVITE, NOW, ORIG, PROPERTY, X5U, any_text, attempt, eternal, good, provider, replace, signer, verify

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GOOD = good().identity
DIGEST, _, PARAMETERS = GOOD.partition(";")
HEADER, PAYLOAD, SIGNATURE = DIGEST.split(".")
FRAGMENTS = [
    DIGEST, PARAMETERS, HEADER, PAYLOAD, SIGNATURE, GOOD, X5U,
    ";", ",", "<", ">", '"', "\\", "=", ".", "..", " ", "\t", "\r\n ", "\n", "\r", "\0",
    "info", "alg", "ppt", "INFO=", ";info=<", ";alg=ES256", ";ppt=shaken", ';ppt="shaken"', ";ppt=div", ";alg", ";x=y",
]  # fmt: skip


def _is_what_was_signed(value: str) -> bool:
    """Does a valid verdict on this value rest on octets and signature of ours? (r, n-s) is the same signature."""
    decided = verify(value).verdict
    assert decided.passport is not None
    raw = from_base64url(SIGNATURE)
    twin = raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    signed = f"{HEADER}.{PAYLOAD}".encode()
    return decided.passport.signing_input == signed and decided.passport.signature in (raw, twin)


@PROPERTY
@given(any_text(FRAGMENTS))
@example(f"{DIGEST};info=<{X5U}>;alg")
@example(f"{DIGEST};info=<{X5U}>;ppt=")
@example("")
@example(",")
@example('"')
def test_any_text_ends_in_a_verdict(value: str) -> None:
    verification = verify(value)
    assert verification.verstat in (PASSED, FAILED, NOT_VALIDATED)
    # Stricter rules ask for no more credentials
    strict = examine(replace(INVITE, identity=(value,)), VerificationRules(strict_parameters=True), now=NOW)
    assert set(strict.needed) <= set(examine(replace(INVITE, identity=(value,)), now=NOW).needed)
    if verification.valid:
        assert _is_what_was_signed(value)
    else:
        assert FAILURES[verification.token].error.code in (403, 428, 436, 437, 438)


@PROPERTY
@given(st.lists(any_text(FRAGMENTS), max_size=15))
def test_any_number_of_fields_ends_in_a_verdict(values: list[str]) -> None:
    verification = verify(*values)
    assert len(verification.verdicts) <= 10
    assert verification.valid == any(verdict.valid for verdict in verification.verdicts)


@PROPERTY
@given(any_text(FRAGMENTS))
def test_value_that_parses_is_written_and_parsed_to_the_same(value: str) -> None:
    identity, token = attempt(parse_identity, value)
    if identity is None:
        assert token in ("identity_malformed", "identity_too_large", "info_missing", "info_malformed")
        return
    assert parse_identity(str(identity)) == identity
    assert identity.digest.count(".") == 2


@PROPERTY
@given(any_text(FRAGMENTS))
def test_split_loses_nothing_but_commas_and_folds(field: str) -> None:
    values = split_values(field)
    if len(field) <= MAX_MERGED_OCTETS:
        kept = "".join("".join(values).split()).replace(",", "")
        assert kept == "".join(field.split()).replace(",", "")


POSITION = st.integers(0, len(GOOD))


@st.composite
def _mutations(draw: st.DrawFn) -> str:
    text = GOOD
    for _ in range(draw(st.integers(1, 3))):
        start = draw(POSITION) % (len(text) + 1)
        end = min(len(text), start + draw(st.integers(1, 8)))
        kind = draw(st.sampled_from(["flip", "delete", "insert", "duplicate", "truncate", "swap"]))
        match kind:
            case "flip" if start < len(text):
                octet = draw(st.one_of(st.sampled_from("AB-_.;,<>=\"' \\+/"), st.characters(max_codepoint=255)))
                text = text[:start] + octet + text[start + 1 :]
            case "delete":
                text = text[:start] + text[end:]
            case "insert":
                text = text[:start] + draw(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=4))) + text[start:]
            case "duplicate":
                text = text[:end] + text[start:end] + text[end:]
            case "truncate":
                text = text[:start]
            case _:
                text = text[:start] + text[start:end][::-1] + text[end:]
    return text


@PROPERTY
@given(_mutations())
def test_mutation_is_valid_only_if_it_means_the_same(value: str) -> None:
    if verify(value).valid:
        assert _is_what_was_signed(value)


@PROPERTY
@given(st.integers(0, len(DIGEST) - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_no_other_character_in_the_passport_is_valid(position: int, character: str) -> None:
    changed = DIGEST[:position] + character + DIGEST[position + 1 :]
    assert verify(f"{changed};{PARAMETERS}").valid is (changed == DIGEST)


# --- Claims -------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CLAIMS: dict[str, Any] = good().claims.members()
NAMES = st.sampled_from(["attest", "dest", "iat", "orig", "origid"])
IDENTITIES = st.dictionaries(st.sampled_from(["tn", "uri", "x"]), JSON | st.lists(st.text(max_size=9), max_size=3), max_size=3)


def _signed(payload: bytes) -> str:
    text = f"{HEADER}.{to_base64url(payload)}"
    return f"{text}.{to_base64url(es256_sign(text.encode(), provider().key))};{PARAMETERS}"


@PROPERTY
@given(st.one_of(JSON, st.dictionaries(NAMES, JSON), st.builds(lambda n, v: {**CLAIMS, n: v}, NAMES, JSON | IDENTITIES)))
def test_any_json_as_claims_ends_in_a_verdict(value: Any) -> None:
    verification = verify(_signed(canonical_json(value)))
    if verification.valid:
        assert shaken_claims(value).orig == good().claims.orig
    else:
        assert verification.token


@PROPERTY
@given(
    st.binary(max_size=200)
    | any_text(['{"', '":', "{", "}", "[", "]", "iat", "1e999", "NaN", "\\ud800", '"', ","]).map(str.encode)
)
def test_any_octets_as_payload_end_in_a_verdict(payload: bytes) -> None:
    assert not verify(_signed(payload)).valid


@PROPERTY
@given(st.binary(max_size=200))
def test_any_octets_as_jose_header_end_in_a_verdict(header: bytes) -> None:
    assert not verify(f"{to_base64url(header)}.{PAYLOAD}.{SIGNATURE};{PARAMETERS}").valid


@PROPERTY
@given(st.builds(lambda changes: {**CLAIMS, **changes}, st.dictionaries(NAMES, JSON | IDENTITIES, max_size=2)))
def test_claims_that_are_read_are_written_and_read_to_the_same(value: dict[str, Any]) -> None:
    claims, token = attempt(shaken_claims, value)
    if claims is None:
        assert token in ("claim_missing", "claim_malformed", "attest_invalid")
        return
    again = shaken_claims(json_object(canonical_json(claims.members())))
    assert again == claims._replace(dest=tuple(sorted(set(claims.dest))))


@PROPERTY
@given(st.dictionaries(st.text(), JSON))
def test_canonical_json_reads_back_and_is_stable(value: dict[str, Any]) -> None:
    octets = canonical_json(value)
    assert canonical_json(json_object(octets)) == octets
    assert list(json_object(octets)) == sorted(value)


@PROPERTY
@given(st.binary())
def test_base64url_reads_back(octets: bytes) -> None:
    assert from_base64url(to_base64url(octets)) == octets


@PROPERTY
@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_base64url_has_one_text_per_octets(text: str) -> None:
    octets, token = attempt(from_base64url, text)
    assert token == "passport_malformed" if octets is None else to_base64url(octets) == text


# --- Round trip ---------------------------------------------------------------------------------------------------

NUMBER = st.from_regex(r"[0-9]{1,15}", fullmatch=True)


@PROPERTY
@given(
    orig=NUMBER,
    dest=NUMBER,
    attest=st.sampled_from(Attestation),
    now=st.integers(0, 253402300799) | st.floats(0, 253402300799),
    origid=st.text(min_size=1, max_size=255),
)
def test_every_call_that_is_signed_verifies(orig: str, dest: str, attest: Attestation, now: float, origid: str) -> None:
    request = Request("INVITE", f"tel:+{dest}", f"sip:+{orig}@a.example;user=phone", f"<tel:+{dest}>"[1:-1])
    signed = sign(request, attest, signer(), now=now, origid=origid)
    dated = replace(request, date=signed.date)
    verification = verify(signed.identity, request=dated, now=now)
    assert verification.token == ""
    passport = verification.verdict.passport
    assert passport is not None
    assert passport.claims == signed.claims
    assert (passport.claims.orig.value, passport.claims.origid) == (orig, origid)


@PROPERTY
@given(st.integers(-200, 200))
def test_validity_in_time_is_a_minute_to_both_sides(age: int) -> None:
    assert verify(GOOD, now=NOW + age).valid is (abs(age) <= 60)


@PROPERTY
@given(NUMBER, NUMBER)
def test_other_numbers_are_never_valid(orig: str, dest: str) -> None:
    request = replace(INVITE, from_uri=f"tel:+{orig}", to_uri=f"tel:+{dest}")
    same = (orig, dest) == (good().claims.orig.value, good().claims.dest[0].value)
    assert verify(GOOD, request=request).valid is same


# --- Types that go with shaken -------------------------------------------------------------------------------------

EXTENSION_CLAIMS: dict[str, dict[str, Any]] = {
    "div": {"dest": {"tn": ["2"]}, "div": {"tn": DEST}, "iat": NOW, "orig": {"tn": ORIG}},
    "rph": {"dest": {"tn": [DEST]}, "iat": NOW, "orig": {"tn": ORIG}, "rph": {"auth": ["ets.0"]}, "sph": "psap-callback"},
    "rcd": {
        "crn": "x",
        "dest": {"tn": [DEST]},
        "iat": NOW,
        "orig": {"tn": ORIG},
        "rcd": {"icn": "https://a.example/b", "jcd": ["vcard", [["fn", {}, "text", "Q"]]], "nam": "Q"},
        "rcdi": {"/icn": "sha256-AAAA", "/jcd/1/0/3": "sha256-AAAA"},
    },
}
STRANGER = ec.generate_private_key(ec.SECP256R1())
HOSTILE = JSON | st.sampled_from(["\ud800", 1e308 * 10, [[]], {"": ""}, "sha256-AAAA", "/", "~", "1" * 16])
INNER = st.dictionaries(
    st.sampled_from(["tn", "uri", "auth", "nam", "apn", "icn", "jcl", "jcd", "", "/jcd", "/nam", "/jcd/1/0"]),
    HOSTILE,
    max_size=3,
)
MEMBERS = st.sampled_from(["div", "dest", "iat", "orig", "rph", "sph", "rcd", "rcdi", "crn", "opt", "attest", "origid"])


def _value(ppt: str, claims: Any, key: ec.EllipticCurvePrivateKey | None = None, x5u: str = X5U) -> str:
    header = {"alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": x5u}
    # Hostile JSON may hold what has no UTF-8
    octets = canonical_json(claims) if key else json.dumps(claims).encode()
    text = f"{to_base64url(canonical_json(header))}.{to_base64url(octets)}"
    return f"{text}.{to_base64url(es256_sign(text.encode(), key or provider().key))};info=<{x5u}>;ppt={ppt}"


@st.composite
def _hostile(draw: st.DrawFn) -> str:
    ppt = draw(st.sampled_from(["div", "rph", "rcd", "shaken"]))
    claims = dict(EXTENSION_CLAIMS.get(ppt, CLAIMS))
    for name in draw(st.lists(MEMBERS, max_size=2)):
        claims[name] = draw(HOSTILE | INNER)
    return _value(ppt, claims)


@PROPERTY
@given(
    st.lists(_hostile() | _mutations() | any_text(FRAGMENTS), max_size=10),
    st.sampled_from([DEST, "2", "911"]),
    st.lists(any_text(["ets.0", ",", " ", "."], 4), max_size=3),
    st.none() | st.just("psap-callback") | st.text(max_size=8),
)
def test_any_set_of_values_ends_in_verdicts(values: list[str], target: str, fields: list[str], priority: str | None) -> None:
    request = replace(INVITE, request_uri=f"sip:{target}@gw", resource_priority=tuple(fields), priority=priority)
    began = process_time()
    verification = verify(*values, request=request)
    assert process_time() - began < 1
    assert verification.verstat in (PASSED, FAILED, NOT_VALIDATED)
    assert verification.valid == any(verdict.valid and verdict.ppt == "shaken" for verdict in verification.verdicts)
    present = ",".join(fields).lower()
    assert all(value in present for value in verification.rph)
    assert verification.rcd is None or verification.valid
    for verdict in verification.verdicts:
        assert verdict.error is None or FAILURES[verdict.error.token].error.code in (403, 428, 436, 437, 438)


class Step(NamedTuple):
    """A div PASSporT of a small world, where the numbers are 1 to 5."""

    div: int
    dest: frozenset[int]
    good: bool


NUMBERS = st.integers(1, 5)
STEPS = st.lists(
    st.builds(Step, NUMBERS, st.frozensets(NUMBERS, min_size=1, max_size=2), st.integers(0, 3).map(bool)), max_size=6
)


def _leads(signed: frozenset[int], steps: list[Step], target: int) -> bool:
    """By trying every way: do good steps, each used once, lead from what is signed to the target?"""
    usable = [step for step in steps if step.good]
    for length in range(1, len(usable) + 1):
        for way in itertools.permutations(usable, length):
            reached = signed
            for step in way:
                if step.div not in reached:
                    break
                reached = step.dest
            else:
                if target in reached:
                    return True
    return False


def _diverted(
    steps: list[Step], signed: frozenset[int], to: int, target: int, order: list[int]
) -> tuple[Verification, list[str]]:
    claims = {**CLAIMS, "dest": {"tn": sorted(map(str, signed))}}
    values = [_value("shaken", claims, provider().key)]
    for number, step in enumerate(steps):
        own = {"dest": {"tn": sorted(map(str, step.dest))}, "div": {"tn": str(step.div)}, "iat": NOW, "orig": {"tn": ORIG}}
        values.append(_value("div", own, provider().key if step.good else STRANGER, f"https://a.example/{number}"))
    values = [values[number] for number in order]
    request = replace(INVITE, identity=tuple(values), to_uri=f"sip:{to}@gw", request_uri=f"sip:{target}@gw")
    examination = examine(request, now=NOW)
    return conclude(examination, dict.fromkeys(examination.needed, eternal()), now=NOW), list(examination.needed)


@PROPERTY
@given(st.data(), STEPS, st.frozensets(NUMBERS, min_size=1, max_size=2), NUMBERS, NUMBERS)
def test_call_is_valid_only_if_good_diversions_lead_to_it(
    data: st.DataObject, steps: list[Step], signed: frozenset[int], to: int, target: int
) -> None:
    order = data.draw(st.permutations(range(len(steps) + 1)))
    verification, needed = _diverted(steps, signed, to, target, order)
    leads = [_leads(signed, steps, goal) for goal in (target, to) if goal not in signed]
    assert verification.valid is (to in signed or any(leads))
    if verification.diversions:
        assert int(verification.diversions[0]) in signed
        assert any(leads)
    # What is not asked for is a diversion that no chain needs
    all_good, _ = _diverted([step._replace(good=True) for step in steps], signed, to, target, order)
    assert sum(verdict.valid for verdict in all_good.verdicts) == len(needed)


@PROPERTY
@given(st.data(), STEPS, st.frozensets(NUMBERS, min_size=1, max_size=2), NUMBERS, NUMBERS)
def test_order_of_the_headers_changes_nothing(
    data: st.DataObject, steps: list[Step], signed: frozenset[int], to: int, target: int
) -> None:
    first, _ = _diverted(steps, signed, to, target, list(range(len(steps) + 1)))
    second, _ = _diverted(steps, signed, to, target, data.draw(st.permutations(range(len(steps) + 1))))
    assert (first.token, first.verstat, len(first.diversions)) == (second.token, second.verstat, len(second.diversions))
    tokens = [Counter(verdict.error and verdict.error.token for verdict in one.verdicts) for one in (first, second)]
    assert tokens[0] == tokens[1]
