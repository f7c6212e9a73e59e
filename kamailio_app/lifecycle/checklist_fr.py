"""France: the MAN, whose STI-PA, STI-CA and repository are one, run by the APNF.

How the APNF takes requests for certificates is its members' to know: these steps are done by hand.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from kamailio_app.lifecycle.checklist import Fact, Field, Step
from kamailio_app.lifecycle.checklist_common import CERTIFICATE, ENTITY, FIRST_CALL, INSTALL, PUBLICATION, RENEWAL

_API: Final = "APNF, OpenAPI of the MAN"

STEPS: Final[tuple[Step, ...]] = (
    ENTITY,
    Step(
        "numbers",
        "Numbers",
        "Who signs says that the number is his customer's.",
        "ARCEP, or the operator who assigns numbers to you",
        "proof of the numbers; the inventory (shakenctl numbers import)",
        needs=("entity",),
        commands=("shakenctl numbers import FILE",),
        facts=(Fact("operators have to authenticate numbers since 2023-07-25", "law 2020-901 (Naegelen)", "2023-07-25"),),
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "apnf",
        "Access to the APNF's platform",
        "STI-PA, STI-CA and repository of the MAN are one, run by the APNF.",
        "APNF",
        "access to its interfaces",
        needs=("entity",),
        facts=(
            Fact("at most 600 calls of the API a minute and address", _API, "2026-02-23"),
            Fact("who may join, what it costs and how long it takes is not known here", "ours", confirmed=False),
        ),
        checked="proofs that were noted are still as they were",
    ),
    Step(
        "spc",
        "Service provider code (SPC)",
        "It stands in the certificate and in the x5u URL.",
        "APNF",
        "the SPC, for [provider] spc",
        needs=("apnf",),
        fields=(Field("spc", "service provider code", r"[0-9A-Z]{6}", "6 of 0-9 and A-Z", "APNF, OpenAPI of the MAN"),),
        check="spc",
        checked="the SPC noted, [provider] spc and the TNAuthList of the certificates are one and the same",
    ),
    replace(
        CERTIFICATE,
        where="APNF, by hand: acme request, the APNF's way of taking it, acme install",
        needs=("spc",),
        commands=("shakenctl acme request", "shakenctl acme install NAME CHAIN_FILE"),
        facts=(
            Fact("how the APNF takes requests is not known here; no ACME of its own is", "ours", confirmed=False),
            Fact("the list of roots, list of CAs and CRL are at /ca, /ca/certs and /crl of its API", _API, "2026-02-23"),
        ),
    ),
    replace(
        PUBLICATION,
        where="the APNF's repository",
        gives="https://api.man-bpco.fr/certs/SPC/SERIAL.cer",
        commands=("shakenctl publish check NAME",),
        facts=(
            Fact(
                "the x5u is https://api.man-bpco.fr/certs/{spc}/{serial}.cer: name the pair by the certificate's serial; "
                'public_cert_url = "https://api.man-bpco.fr/certs/SPC/{name}.cer"',
                _API,
                "2026-02-23",
            ),
        ),
    ),
    INSTALL,
    replace(
        FIRST_CALL,
        facts=(
            *FIRST_CALL.facts,
            Fact(
                "in an outage of signing, calls go on with a token in Identity-Bypass: bypass in the signing policy",
                _API,
                "2026-02-23",
            ),
        ),
    ),
    replace(
        RENEWAL,
        commands=("shakenctl certificates list --warn-days 30",),
        checked="nothing: requests go to the APNF by hand; note when the next one is due (--until)",
        check="",
        facts=(),
    ),
)
