"""Canada: CRTC registration, the CST-GA's approval, its own STI-PA and CRL. Trust anchors are the country's own.

What the CST-GA itself or the standards did not say is marked as not confirmed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kamailio_app.lifecycle.checklist import Fact, Field, Step
from kamailio_app.lifecycle.checklist_common import CERTIFICATE, ENTITY, FIRST_CALL, INSTALL, PUBLICATION, RENEWAL

_ONBOARDING: Final = "CST-GA, application and onboarding of participants (cstga.ca)"
_AN_STI_CA: Final = "an STI-CA in Canada, on its support pages"

STEPS: Final[tuple[Step, ...]] = (
    ENTITY,
    Step(
        "crtc",
        "CRTC registration",
        "Only telecommunications service providers that may provide voice services get SPC tokens.",
        "CRTC",
        "the registration, in a category that permits voice",
        needs=("entity",),
        facts=(
            Fact("voice providers had to implement STIR/SHAKEN by 2021-11-30", "CRTC 2021-123", "2021"),
            Fact(
                "registered providers who are no shareholders of the CST-GA can have tokens, too", "CRTC 2021-267", "2021-08-05"
            ),
        ),
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "ocn",
        "Service provider code (OCN)",
        "It stands in the SPC token and in the certificate.",
        "NECA, as far as is known here",
        "the OCN, for [provider] spc",
        needs=("entity",),
        fields=(Field("ocn", "operating company number", r"[0-9A-Z]{4}", "4 of 0-9 and A-Z", "ATIS-1000080 6.4.1"),),
        facts=(Fact("the application asks for an OCN from NECA that is specific to Canada", _AN_STI_CA, confirmed=False),),
        check="spc",
        checked="the OCN noted, [provider] spc and the TNAuthList of the certificates are one and the same",
    ),
    Step(
        "numbers",
        "Access to numbers",
        "Attestation A is for numbers that are verifiably the caller's.",
        "the Canadian Numbering Administrator, or a carrier who assigns numbers to you",
        "proof of the numbers; the inventory (shakenctl numbers import)",
        needs=("entity",),
        commands=("shakenctl numbers import FILE",),
        facts=(Fact("access of one's own to numbers is no condition for tokens any more", "CST-GA policy", "2021-10-14"),),
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "cst-ga",
        "Approval by the CST-GA",
        "The governance authority decides who gets SPC tokens: identity, reputation, technical compliance.",
        "CST-GA: https://cstga.ca/application-for-spc-token-in-canada/",
        "the signed Participant Access Agreement",
        needs=("crtc", "ocn"),
        facts=(
            Fact(
                "application, then agreement and fee; then the PA is told that you may have an account", _ONBOARDING, "2021-11"
            ),
            Fact("identity, reputation and technical compliance have to be shown", "CST-GA policy", "2021-10-14"),
        ),
        takes="reviewed usually within 10 business days (CST-GA, 2021-11)",
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "sti-pa",
        "Account at the STI-PA",
        "The policy administrator issues the SPC tokens.",
        "Neustar (TransUnion), whom the CST-GA names in its instructions",
        "an account for its API: [sti_pa] sti_pa_url, sti_pa_user and password",
        needs=("cst-ga",),
        commands=("shakenctl sti-pa login",),
        facts=(
            Fact("Neustar is the PA; the CST-GA's instructions say how to have the account made", _ONBOARDING, "2021-11"),
            Fact("an acceptance test, and the callers' IP addresses on a list", _AN_STI_CA, confirmed=False),
            Fact("whether its API is spelled as iconectiv's is not known here", "ours", confirmed=False),
        ),
        check="sti_pa",
        checked="the settings name the account; a certificate of [provider] spc could not be had without it",
    ),
    Step(
        "sti-ca",
        "Contract with an STI-CA",
        "One of the certification authorities on the Canadian list issues the certificate.",
        "an STI-CA that the CST-GA approved",
        "its ACME directory, key identifier and MAC key: [sti_ca] acme_directory, eab_key_id, eab_key_file",
        needs=("cst-ga",),
        commands=("shakenctl acme register",),
        facts=(
            Fact("lists of one country are not the other's: a verifier in the United States needs both", "CST-GA, iconectiv"),
        ),
        check="sti_ca",
        checked="the settings name the directory; the root of the chain is in the STI-PA's list, where that is on disk",
    ),
    Step(
        "token",
        "SPC token",
        "The STI-PA's word to the STI-CA that this account may have a certificate for the SPC.",
        "the STI-PA's API",
        "a token that lives shortly; acme order asks for one by itself",
        needs=("sti-pa", "sti-ca"),
        commands=("shakenctl sti-pa token --out FILE",),
        facts=(Fact("the token names the ACME account's key by its fingerprint", "RFC 9448 5.4"),),
        check="token",
        checked="the SPC and the end of a token whose file is noted (--file)",
    ),
    replace(
        CERTIFICATE,
        facts=(
            *CERTIFICATE.facts,
            Fact(
                "the CRL is the country's own: https://stipa-crl-cstga.ccid.neustar/api/v1/crl, named with its issuer",
                "Canadian certificates",
                "2025-08",
            ),
        ),
    ),
    PUBLICATION,
    INSTALL,
    FIRST_CALL,
    RENEWAL,
)
