"""RFC 8946: the "div" PASSporT, as an authentication service makes it. What is made is read by other means than the product's,
and then given to our own verification service. Also who diverted, as RFC 5806 and RFC 7044 tell it.
"""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.credentials.tnauthlist import TelephoneNumberRange, TNAuthList
from kamailio_app.errors import StirError
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.sip import Party, Request
from kamailio_app.sti_as import SignedCall

from .support import (
    CLAIMS,
    DEST,
    HEADER,
    INVITE,
    NOW,
    ORIG,
    X5U,
    compact_json,
    credential,
    hierarchy,
    identity,
    parts,
    passes_on,
    provider,
    replace,
    sign_all,
    signature_holds,
    signer,
    token,
    unb64,
)

SECOND, THIRD, OTHER = "12155550140", "12155550150", "12155550999"
SHAKEN = identity(token())


def uri(number: str) -> str:
    return f"sip:+{number}@term.example.net;user=phone"


def diverted(target: str = SECOND, **changes: Any) -> Request:
    """A call that came signed for DEST and goes to `target`."""
    return replace(INVITE, **{"request_uri": uri(target), "to_uri": uri(target), "identity": (SHAKEN,), **changes})


def signs(call: Request | None = None, **wanted: Any) -> SignedCall:
    return sign_all(call or diverted(), **{"identity": "div", **wanted})


def refused(call: Request, **wanted: Any) -> str:
    with pytest.raises(StirError) as caught:
        signs(call, **wanted)
    return caught.value.token


def claims_of(made: SignedCall, number: int = 0) -> dict[str, Any]:
    return parts(made.identities[number])[1]


def chain(made: SignedCall) -> list[tuple[str, str]]:
    return [(claims["div"]["tn"], claims["dest"]["tn"][0]) for claims in (parts(value)[1] for value in made.identities)]


# --- 3: the claims --------------------------------------------------------------------------------------------------


def test_header_says_div_in_both_places() -> None:
    """RFC 8946 3: ppt MUST be "div"."""
    value = signs().identities[0]
    assert parts(value)[0] == {"alg": "ES256", "ppt": "div", "typ": "passport", "x5u": X5U}
    assert value.endswith(f";info=<{X5U}>;alg=ES256;ppt=div")


def test_claims_are_the_four_and_no_others() -> None:
    """RFC 8946 3: dest, div, iat and orig; nothing else is copied from the PASSporT that came."""
    theirs = identity(token(claims={**CLAIMS, "rcd": {"nam": "Q"}, "mky": []}))
    assert list(claims_of(signs(diverted(identity=(theirs,))))) == ["dest", "div", "iat", "orig"]


def test_claims_are_deterministic_json() -> None:
    """RFC 8225 9: members sorted, no white space."""
    payload = unb64(signs().identities[0].split(".")[1])
    assert payload == compact_json({"dest": {"tn": [SECOND]}, "div": {"tn": DEST}, "iat": NOW - 10, "orig": {"tn": ORIG}})


def test_orig_is_copied_unchanged() -> None:
    """RFC 8946 3: orig is that of the PASSporT that came, to the letter."""
    theirs = identity(token(claims={**CLAIMS, "orig": {"tn": f"+{ORIG}"}}))
    assert claims_of(signs(diverted(identity=(theirs,))))["orig"] == {"tn": f"+{ORIG}"}


def test_div_is_one_identifier_out_of_the_former_dest() -> None:
    """RFC 8946 3: div has a single identity, a string, out of the former dest."""
    theirs = identity(token(claims={**CLAIMS, "dest": {"tn": [OTHER, DEST]}}))
    made = signs(diverted(identity=(theirs,)), diversions=(Party("tn", DEST),))
    assert claims_of(made)["div"] == {"tn": DEST}


def test_dest_is_the_new_target() -> None:
    """RFC 8946 3, 4.1: dest is the retargeted Request-URI, in an array, canonical, without its parameters."""
    made = signs(diverted(request_uri="sip:+1-215-555-0140;rn=+12155550000;npdi@gw;user=phone"))
    assert claims_of(made)["dest"] == {"tn": [SECOND]}


def test_iat_is_kept() -> None:
    """RFC 8946 3: the original iat SHOULD stay."""
    assert claims_of(signs())["iat"] == CLAIMS["iat"]


def test_div_never_has_opt() -> None:
    """RFC 8946 5: opt MUST NOT be in a div PASSporT; div-o is not for SIP."""
    assert "opt" not in claims_of(signs())


# --- 4.1: authentication service ------------------------------------------------------------------------------------


def test_signature_holds_over_what_is_sent() -> None:
    """RFC 8946 4.1: full form, signed by who diverts."""
    digest = signs().identities[0].partition(";")[0]
    assert signature_holds(digest, provider().key.public_key())


def test_diverted_call_is_valid_for_the_next_network() -> None:
    """RFC 8946 4.1, 4.2: with the header that came and the one that is added, whether To was changed or not."""
    for to in (DEST, SECOND):
        call = diverted(to_uri=uri(to))
        verification = passes_on(signs(call), call)
        assert (verification.valid, verification.diversions) == (True, (DEST,))


@pytest.mark.parametrize("target", [uri(DEST), f"sip:+{DEST};rn=+12155550000@other.example", "tel:+1-215-555-0131"])
def test_target_that_stays_the_same_is_no_diversion(target: str) -> None:
    """RFC 8946 4.1: div only if the canonical target changes; another route to the same number is none."""
    assert refused(diverted(request_uri=target)) == "div_not_needed"


def test_no_div_without_identity() -> None:
    """RFC 8946 4.1: a request without Identity gets no div alone; ours comes first."""
    made = signs(diverted(identity=(), to_uri=uri(DEST)), div=True)
    assert [parts(value)[0]["ppt"] for value in made.identities] == ["shaken", "div"]
    assert passes_on(made, diverted(identity=(), to_uri=uri(DEST))).diversions == (DEST,)
    made = signs(diverted(identity=(), to_uri=uri(DEST)))
    assert [parts(value)[0]["ppt"] for value in made.identities] == ["shaken"]


def test_identity_that_came_is_not_removed() -> None:
    """RFC 8946 4.1: the original Identity header fields MUST stay."""
    unknown = identity(token({**HEADER, "ppt": "nobody-knows"}), f";info=<{X5U}>;ppt=nobody-knows")
    assert signs(diverted(identity=(SHAKEN, unknown))).keep is None


def test_one_div_for_each_chain() -> None:
    """RFC 8946 4.1: each PASSporT whose dest the call leaves gets its own; one is enough for two that share orig and dest."""
    other = identity(token(claims={**CLAIMS, "dest": {"tn": [OTHER]}}))
    twin = identity(token(claims={**CLAIMS, "origid": "twin"}))
    call = diverted(identity=(SHAKEN, other, twin))
    made = signs(call)
    assert chain(made) == [(DEST, SECOND), (OTHER, SECOND)]
    assert all(verdict.valid for verdict in passes_on(made, call).verdicts)


def test_each_of_several_diversions_is_a_link() -> None:
    """RFC 8946 4.1, 4.2: div of the one is in dest of the one before."""
    call = diverted(OTHER)
    made = signs(call, diversions=tuple(Party("tn", number) for number in (DEST, SECOND, THIRD)))
    assert chain(made) == [(DEST, SECOND), (SECOND, THIRD), (THIRD, OTHER)]
    verification = passes_on(made, call)
    assert (verification.valid, verification.diversions) == (True, (DEST, SECOND, THIRD))
    for number in range(3):
        broken = made._replace(identities=made.identities[:number] + made.identities[number + 1 :])
        assert passes_on(broken, call).token == "div_mismatch"


def test_chain_that_came_is_continued_at_its_end() -> None:
    """RFC 8946 4.1: the next div starts where the last one led."""
    first = diverted()
    second = diverted(THIRD, identity=(*signs(first).identities, SHAKEN))
    made = signs(second)
    assert chain(made) == [(SECOND, THIRD)]
    assert passes_on(made, second).diversions == (DEST, SECOND)


def test_signer_has_authority_over_who_diverts() -> None:
    """RFC 8946 4.1: the certificate MUST speak for the div number; it need not speak for orig."""
    ours = TNAuthList(ranges=(TelephoneNumberRange("12155550130", 10),))
    issued, x5u = hierarchy().service_provider(ServiceProvider(tnauthlist=ours)), "https://cr.example.test/5678/div.pem"
    made = sign_all(diverted(), signer_=signer(issued.key, x5u=x5u, authority=ours), identity="div")
    assert passes_on(made, diverted(), credentials={x5u: credential(issued)}).valid
    with pytest.raises(StirError) as caught:
        sign_all(diverted(), signer_=signer(authority=TNAuthList(numbers=(ORIG, SECOND))), identity="div")
    assert caught.value.token == "tn_not_authorized"


def test_every_link_needs_authority() -> None:
    """RFC 8946 4.1: one number that is not ours, and no link of the chain is signed."""
    with pytest.raises(StirError) as caught:
        sign_all(
            diverted(THIRD),
            signer_=signer(authority=TNAuthList(numbers=(DEST,))),
            identity="div",
            diversions=(Party("tn", DEST), Party("tn", SECOND)),
        )
    assert caught.value.token == "tn_not_authorized"


def test_who_is_not_called_cannot_divert() -> None:
    """RFC 8946 4.1: div is out of dest; a diversion by somebody else links nothing, and is not signed."""
    assert refused(diverted(), diversions=(Party("tn", OTHER),)) == "div_unlinked"


@pytest.mark.parametrize(("age", "expected"), [(61, "iat_stale"), (-61, "iat_in_future")])
def test_stale_call_is_not_signed_on(age: int, expected: str) -> None:
    """RFC 8224 4.1: nothing is signed outside of the window of freshness, and div keeps the original iat."""
    assert refused(diverted(identity=(identity(token(claims={**CLAIMS, "iat": NOW - age})),))) == expected


def test_date_is_added_beside_a_div_too() -> None:
    """RFC 8224 6.1 step 3: a request without Date gets one; one with a stale Date gets no PASSporT."""
    assert signs().date == "Tue, 14 Nov 2023 22:13:30 GMT"
    assert refused(diverted(date="Tue, 14 Nov 2023 22:00:00 GMT")) == "date_stale"


# --- Who diverted -------------------------------------------------------------------------------------------------


def test_topmost_diversion_header_is_the_last() -> None:
    """RFC 5806 5: each diversion goes on top of those before."""
    call = diverted(
        THIRD, diversion=(f"<{uri(SECOND)}>;reason=no-answer", f'"A, B" <tel:+{DEST}>;reason=unconditional;counter=1')
    )
    made = signs(call)
    assert chain(made) == [(DEST, SECOND), (SECOND, THIRD)]
    assert passes_on(made, call).valid


def test_history_info_tells_who_was_retargeted() -> None:
    """RFC 7044 5, 10.3: mp leads to the entry that was mapped, rc to the device of the same user."""
    entries = [
        f"<{uri(DEST)}>;index=1",
        "<sip:+12155559999@192.0.2.4?Reason=SIP%3Bcause%3D408>;index=1.1;rc=1",
        f"<{uri(SECOND)}>;index=1.2;mp=1.1",
        f"<{uri(THIRD)}>;index=1.2.1;mp=1.2",
    ]
    for fields in (tuple(entries), (", ".join(entries),)):
        call = diverted(THIRD, history_info=fields)
        made = signs(call)
        assert chain(made) == [(DEST, SECOND), (SECOND, THIRD)]
        assert passes_on(made, call).valid


def test_fields_that_name_strangers_sign_nothing() -> None:
    """RFC 8946 4.1: whatever Diversion claims, a chain starts at whom the call was signed for."""
    assert refused(diverted(diversion=(f"<{uri(OTHER)}>",))) == "div_unlinked"
