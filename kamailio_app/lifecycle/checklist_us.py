"""The United States: the FCC's registrations, the SPC token of the STI-PA (iconectiv), an approved STI-CA.

Nothing of this is legal advice: each fact has its source and that source's date.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kamailio_app.lifecycle.checklist import Fact, Field, Step
from kamailio_app.lifecycle.checklist_common import CERTIFICATE, ENTITY, FIRST_CALL, INSTALL, PUBLICATION, RENEWAL

_RMD_NOTICE: Final = "FCC DA 26-72 (WC 24-213)"
_TOKEN_POLICY: Final = "STI-GA, SPC token access policy"
_OWN_CERTIFICATE: Final = "FCC 24-120, 90 FR 40241, effective 2025-09-18"

STEPS: Final[tuple[Step, ...]] = (
    ENTITY,
    Step(
        "frn",
        "FCC registration number (FRN)",
        "The number by which the FCC knows the company; filings ask for it.",
        "FCC, Commission Registration System (CORES)",
        "the FRN",
        needs=("entity",),
        fields=(Field("frn", "FCC registration number", r"[0-9]{10}", "10 digits", "47 CFR 1.8001"),),
        facts=(
            Fact("whoever does business with the FCC has to have one", "47 CFR 1.8002"),
            Fact(
                "what CORES says of the company has to be changed within 10 business days of any change, since 2026-02-05",
                _RMD_NOTICE,
                "2026-01-22",
            ),
        ),
        checked="10 digits",
    ),
    Step(
        "499a",
        "FCC Form 499-A",
        "The registration as a provider; the STI-PA asks for a current one.",
        "USAC, E-File: https://www.usac.org",
        "the 499 Filer ID",
        needs=("entity",),
        fields=(
            Field(
                "filer_id",
                "499 Filer ID",
                r"8[0-9]{5}",
                "6 digits that begin with 8",
                "USAC, how to file the 499-A online (2007)",
            ),
        ),
        facts=(
            Fact("due each year on April 1, or the business day after it", "USAC, when to file", "2024"),
            Fact("an SPC token asks for a current 499-A on file", _TOKEN_POLICY, "2021-05-10"),
        ),
        checked="the Filer ID's form; the day when it is due again (--until)",
        yearly=(4, 1),
    ),
    Step(
        "ocn",
        "Operating company number (OCN)",
        "It is the service provider code: it stands in the SPC token and in the certificate.",
        "NECA; interconnected VoIP providers ask for an IPES code",
        "the OCN, for [provider] spc",
        needs=("entity",),
        fields=(Field("ocn", "operating company number", r"[0-9A-Z]{4}", "4 of 0-9 and A-Z", "ATIS-1000080 6.4.1"),),
        facts=(
            Fact(
                "of 15 935 certificates one had an SPC that was not 4 characters long", "the published certificates", "2025-08"
            ),
            Fact("an SPC token asks for an OCN", _TOKEN_POLICY, "2021-05-10"),
        ),
        check="spc",
        checked="the OCN noted, [provider] spc and the TNAuthList of the certificates are one and the same",
    ),
    Step(
        "numbers",
        "Access to numbers",
        "Attestation A is for numbers that are verifiably the caller's: yours, and those that customers show to be theirs.",
        "NANPA and the pooling administrator with an FCC authorization, or a carrier who assigns numbers to you",
        "proof of the numbers; the inventory (shakenctl numbers import)",
        needs=("entity",),
        commands=("shakenctl numbers import FILE",),
        facts=(
            Fact(
                "direct access to numbers is no condition for an SPC token any more: the Robocall Mitigation Database took its "
                "place. Is that your case? shakenctl onboard not-needed numbers --why '...'",
                _TOKEN_POLICY,
                "2021-05-10",
            ),
        ),
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "rmd",
        "Robocall Mitigation Database",
        "The certification, with a robocall mitigation plan, without which there is no SPC token.",
        "FCC; instructions: https://www.fcc.gov/sites/default/files/rmd-instructions.pdf",
        "the listing",
        needs=("frn",),
        fields=(
            Field(
                "rmd_number",
                "number of the filing",
                r"RMD[0-9]{7}",
                "RMD and 7 digits",
                "as listings show it; not confirmed by a text of the FCC",
            ),
        ),
        facts=(
            Fact("to be certified again each year by March 1; the window opens on February 1", _RMD_NOTICE, "2026-01-22"),
            Fact(
                "others have to refuse the traffic of a provider who is not listed, since 2021-09-28",
                "law firms, of the FCC's rules",
                "2024",
                confirmed=False,
            ),
            Fact("to be updated within 10 business days of any change", _RMD_NOTICE, "2026-01-22"),
            Fact("a fee for the filing was decided and was not in force yet", "FCC DA 26-133", "2026-02-06"),
            Fact(
                "complete or partial implementation may be certified only by who has an SPC token and a certificate of his own "
                "and signs with it",
                _OWN_CERTIFICATE,
                "2025-08-19",
            ),
            Fact("an SPC token asks for the listing", _TOKEN_POLICY, "2021-05-10"),
        ),
        checked="the number's form; the day when it is due again (--until)",
        yearly=(3, 1),
    ),
    Step(
        "sti-pa",
        "Registration at the STI-PA",
        "The policy administrator issues SPC tokens to registered providers.",
        "iconectiv: https://authenticate.iconectiv.com",
        "an account for its API: [sti_pa] sti_pa_user and password",
        needs=("499a", "ocn", "rmd"),
        commands=("shakenctl sti-pa login",),
        facts=(
            Fact(
                "agreement, fee, a test in staging; the callers' IP addresses are allow-listed, web and API apart", "iconectiv"
            ),
            Fact(
                "API: https://authenticate-api.iconectiv.com, staging: https://authenticate-api-stg.iconectiv.com", "iconectiv"
            ),
            Fact("whose token is withdrawn can appeal to the FCC", "FCC 21-93", "2021"),
        ),
        check="sti_pa",
        checked="the settings name the account; a certificate of [provider] spc could not be had without it",
    ),
    Step(
        "sti-ca",
        "Contract with an STI-CA",
        "One of the certification authorities on the STI-PA's list issues the certificate.",
        "an approved STI-CA; which ones there are, the STI-PA's list says",
        "its ACME directory, key identifier and MAC key: [sti_ca] acme_directory, eab_key_id, eab_key_file",
        needs=("ocn",),
        commands=("shakenctl sti-pa ca-list --out FILE", "shakenctl acme register"),
        facts=(
            Fact("18 self-signed roots issued what was published", "the published certificates", "2025-08"),
            Fact("ask which fingerprint it checks in the token: jwk or spki ([sti_pa] spc_token_fingerprint)", "RFC 9448 5.4"),
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
        facts=(
            Fact("the token names the ACME account's key by its fingerprint", "RFC 9448 5.4"),
            Fact(
                "everybody who obliges himself to sign gets a token and a certificate of his own",
                _OWN_CERTIFICATE,
                "2025-08-19",
            ),
        ),
        check="token",
        checked="the SPC and the end of a token whose file is noted (--file)",
    ),
    replace(
        CERTIFICATE,
        facts=(
            *CERTIFICATE.facts,
            Fact(
                "calls are signed with the certificate of the provider who attests, whoever does the signing",
                _OWN_CERTIFICATE,
                "2025-08-19",
            ),
        ),
    ),
    PUBLICATION,
    INSTALL,
    FIRST_CALL,
    RENEWAL,
)
