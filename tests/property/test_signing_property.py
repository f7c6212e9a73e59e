"""Properties of signing: whatever is signed is accepted by our own verification, and nothing that a peer sends does harm.

The core files are `sti_as.py`, `passport/retargeting.py` and `passport/media.py`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.errors import FAILURES
from kamailio_app.passport.claims import Attestation
from kamailio_app.passport.encoding import canonical_json, from_base64url
from kamailio_app.passport.media import media_keys
from kamailio_app.passport.rcd import RichCallData
from kamailio_app.passport.retargeting import diverting
from kamailio_app.sip import Party, Request
from kamailio_app.sti_as import SignedCall, SigningRules, Wanted, own_reason, sign_all
from kamailio_app.sti_vs import MAX_IDENTITY_HEADERS, VerificationRules, conclude, examine
from kamailio_app.tn import NumberPlan
from kamailio_app.verdict import Verification

from .support import DEST, INVITE, NOW, ORIG, PROPERTY, X5U, any_text, attempt, eternal, good, replace, signer

PLAN = NumberPlan("1", "1", "011", 10)
ORIGID = "123e4567-e89b-12d3-a456-426655440000"
SDP = "v=0\r\na=fingerprint:sha-256 " + ":".join(["0a"] * 32) + "\r\n"
VERIFICATION = VerificationRules(plan=PLAN, rph_signers=frozenset({"1234"}))

numbers = st.from_regex(r"1[2-9][0-9]{9}", fullmatch=True)
diverting_numbers = st.lists(numbers, min_size=1, max_size=4, unique=True)


def uri(number: str, form: int = 0) -> str:
    """A number as different phones write it."""
    return (
        f"sip:+{number}@gw.example.net;user=phone",
        f"tel:+{number[0]}-{number[1:4]}-{number[4:]}",
        f"sip:{number[1:]}@10.0.0.1:5070",
        f"sip:%2B{number};rn=+12155550000;npdi@gw",
    )[form]


def verified(made: SignedCall, call: Request, rules: VerificationRules = VERIFICATION) -> Verification:
    before = call.identity if made.keep is None else made.keep
    call = replace(call, identity=(*before, *made.identities), date=made.date or call.date)
    examination = examine(call, rules, now=NOW)
    return conclude(examination, dict.fromkeys(examination.needed, eternal()), now=NOW)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@PROPERTY
@given(
    orig=numbers,
    dest=numbers,
    forms=st.tuples(*[st.integers(0, 3)] * 3),
    attest=st.sampled_from(Attestation),
    rcd=st.none() | st.tuples(texts, texts).map(lambda shown: RichCallData(nam=shown[0], crn=shown[1])),
    reason=texts,
    further=st.lists(numbers, max_size=3),
    media=st.booleans(),
    base=st.booleans(),
    priority=st.sampled_from([(), ("ets.0",), ("wps.3, ets.1", "dsn.flash")]),
)
def test_whatever_is_wanted_of_a_call_is_accepted(
    *,
    orig: str,
    dest: str,
    forms: tuple[int, int, int],
    attest: Attestation,
    rcd: RichCallData | None,
    reason: str,
    further: list[str],
    media: bool,
    base: bool,
    priority: tuple[str, ...],
) -> None:
    call = replace(
        INVITE,
        from_uri=uri(orig, forms[0]),
        to_uri=uri(dest, forms[1]),
        request_uri=uri(dest, forms[2]),
        resource_priority=priority,
    )
    wanted = Wanted(
        attest, rcd=rcd, call_reason=reason, dest=tuple(Party("tn", one) for one in further), rph=True, div=True,
        mky=SDP if media else "", base=base,
    )  # fmt: skip
    made = sign_all(call, wanted, signer(), SigningRules(plan=PLAN), now=NOW, origid=ORIGID)
    assert made.refused == ()
    verification = verified(made, call)
    assert verification.valid
    assert [verdict.error.token for verdict in verification.verdicts if verdict.error] == ["ppt_unsupported"] * base
    assert (verification.rcd is None) is not any((reason, *(rcd or ())))
    assert (bool(verification.rph), verification.rph_error) == (bool(priority), None)
    for value in made.identities:
        _is_deterministic(value)


def _is_deterministic(value: str) -> None:
    digest, _, parameters = value.partition(";")
    assert value.isprintable()
    assert parameters.startswith(f"info=<{X5U}>;alg=ES256")
    header, payload, signature = digest.split(".")
    assert len(from_base64url(signature)) == 64
    for part in (header, payload):
        octets = from_base64url(part)
        assert not octets or octets == canonical_json(json.loads(octets))


@PROPERTY
@given(
    way=st.lists(numbers, min_size=2, max_size=6, unique=True),
    signed=st.booleans(),
    to_is_target=st.booleans(),
    forms=st.data(),
)
def test_chain_of_diversions_is_accepted_link_by_link(way: list[str], signed: bool, to_is_target: bool, forms: Any) -> None:
    """Each diverting network signs its own diversion, or the last one signs them all."""
    rules = SigningRules(plan=PLAN)
    form = forms.draw(st.integers(0, 3))
    call = replace(INVITE, to_uri=uri(way[0]), request_uri=uri(way[0]))
    made = sign_all(call, Wanted(Attestation.FULL), signer(), rules, now=NOW, origid=ORIGID)
    call = replace(call, identity=made.identities)
    if to_is_target:
        call = replace(call, to_uri=uri(way[-1], form))
    if signed:
        for target in way[1:]:
            call = replace(call, request_uri=uri(target, form))
            made = sign_all(call, Wanted(Attestation.FULL, "div"), signer(), rules, now=NOW, origid=ORIGID)
            call = replace(call, identity=(*made.identities, *call.identity))  # the order says nothing
    else:
        call = replace(call, request_uri=uri(way[-1], form))
        named = tuple(Party("tn", number) for number in way[:-1])
        made = sign_all(call, Wanted(Attestation.FULL, "div", diversions=named), signer(), rules, now=NOW, origid=ORIGID)
        call = replace(call, identity=(*call.identity, *made.identities))
    verification = verified(SignedCall(()), call)
    assert (verification.valid, verification.diversions) == (True, tuple(way[:-1]))
    assert all(verdict.valid for verdict in verification.verdicts)


@PROPERTY
@given(way=diverting_numbers, target=numbers, history=st.booleans())
def test_header_fields_tell_the_same_as_the_script(way: list[str], target: str, history: bool) -> None:
    entries = [f"<{uri(number)}>;index={'.'.join(['1'] * place)}" for place, number in enumerate([*way, target], 1)]
    fields = tuple(f'"x, y" <{uri(number)}>;reason=unknown' for number in reversed(way))
    told = diverting(entries if history else (), () if history else fields, Party("tn", target))
    expected = way[:-1] if way[-1] == target else way
    assert [one.value for one in told] == expected


IDENTITIES = (
    good().identity, good().identity.partition(".")[0], ".", "..", ";", "info=", f"<{X5U}>", "ppt=shaken", "ppt=div", ",",
    "\r\n ", "\n", "\0", '"', "alg=ES256", "c2ln",
)  # fmt: skip
FIELDS = (
    f"<{uri(DEST)}>", f"<{uri(ORIG)}>", ";index=1", ";index=1.1", ";mp=1", ";rc=1.1", ";np=1", ",", '"', "\\", "<", ">",
    ";reason=x", "sip:", "tel:+1", "@", "?Reason=SIP", "\r\n ",
)  # fmt: skip
SDP_LINES = ("a=fingerprint:", "sha-256", " ", "00:11", ":", "\r\n", "v=0", "md5", "AA")
URIS = ("sip:", "tel:", "+", DEST, "2155550131", "@", "gw", ";user=phone", "urn:service:sos", "<", ">", ":")


@PROPERTY
@given(
    identities=st.lists(any_text(IDENTITIES), max_size=4),
    diversion=st.lists(any_text(FIELDS), max_size=4),
    history=st.lists(any_text(FIELDS), max_size=4),
    uris=st.tuples(*[any_text(URIS, 5) | st.just(uri(DEST))] * 3),
    priority=any_text(("ets.0", "esnet.1", ",", "."), 4),
    sdp=any_text(SDP_LINES),
    mode=st.sampled_from(["pass", "replace", "div"]),
    flags=st.tuples(*[st.booleans()] * 5),
    date=st.none() | any_text(("Tue, 14 Nov 2023 22:13:20 GMT",), 2),
)
def test_whatever_comes_ends_in_headers_or_a_failure(
    *,
    identities: list[str],
    diversion: list[str],
    history: list[str],
    uris: tuple[str, str, str],
    priority: str,
    sdp: str,
    mode: Any,
    flags: tuple[bool, bool, bool, bool, bool],
    date: str | None,
) -> None:
    call = Request("INVITE", *uris, (), tuple(identities), date, resource_priority=(priority,), diversion=tuple(diversion),
                   history_info=tuple(history))  # fmt: skip
    drop, by_uri, div, rph, base = flags
    wanted = Wanted(Attestation.GATEWAY, mode, drop, by_uri, div, rph=rph, mky=sdp, base=base)
    made, token = attempt(sign_all, call, wanted, signer(), now=NOW, origid=ORIGID)
    if made is None:
        assert token in FAILURES
        return
    for value in made.identities:
        _is_deterministic(value)
    if made.keep is not None:
        # A value that is put back ends no line of the request
        assert not any(character in value for value in made.keep for character in "\r\n\0")
        assert len(made.keep) + len(made.identities) <= MAX_IDENTITY_HEADERS
    shaken = [value for value in made.identities if value.endswith(";ppt=shaken")]
    assert len(shaken) <= 1
    for error in (*made.refused, *made.dropped):
        assert error.token in FAILURES
    # What was signed of this request says what the request says, where its Date and caller are fit for verification
    if shaken and by_uri is False:
        after = verified(made, call, VerificationRules(max_iat_age=60))
        assert after.valid or {"identity_too_many"} & {verdict.error.token for verdict in after.verdicts if verdict.error}


@PROPERTY
@given(
    fields=st.lists(any_text(FIELDS, 40), max_size=6),
    sdp=any_text(SDP_LINES, 40),
    reason=any_text(("STIR", ";", "ppi=", '"', "..SIG", "\\")),
)
def test_readers_never_raise_anything_else_and_end(fields: list[str], sdp: str, reason: str) -> None:
    began = time.process_time()
    for told in (diverting(fields, (), None), diverting((), fields, None)):
        assert len(told) <= 10
        assert all(one.kind == "tn" for one in told)
    keys, token = attempt(media_keys, sdp)
    assert token in ("", "claim_malformed")
    assert keys is None or list(keys) == sorted(set(keys))
    assert isinstance(own_reason(reason, {"SIG"}), bool)
    assert time.process_time() - began < 1
