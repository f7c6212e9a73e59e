"""Steps of the checklist that are the same in every country, or nearly so: from the certificate on it is software's work."""

from __future__ import annotations

from typing import Final

from kamailio_app.lifecycle.checklist import Fact, Field, Step

STANDARDS: Final = "ATIS-1000080"

ENTITY: Final = Step(
    "entity",
    "Registered entity",
    "The certificate names the company: the legal name that every office below has to have alike.",
    "the company register",
    "the legal name, for [provider] provider_name",
    fields=(
        Field("name", "legal name", r".{1,120}", "a name of at most 120 characters", "ATIS-1000080 6.4.1: O of the subject"),
    ),
    check="entity",
    checked="the name noted is [provider] provider_name",
)

CERTIFICATE: Final = Step(
    "certificate",
    "STI certificate",
    "The key and the chain that sign the provider's calls.",
    "the STI-CA, by ACME; or by hand: acme request, the STI-CA's page, acme install",
    "a pair NAME.key and NAME.pem in provider_state_dir/pairs",
    needs=("token",),
    commands=("shakenctl acme order", "shakenctl inspect CHAIN_FILE"),
    check="certificate",
    checked="TNAuthList is [provider] spc; valid now; chains to the anchors, and to the STI-PA's list where it is on disk",
    facts=(
        Fact(
            "46 % of the certificates in use were valid for 7 days, 21 % for 30: renew by a timer",
            "the published STI certificates",
            "2025-08",
        ),
        Fact("the subject is C, O (the legal name) and CN = SHAKEN and the SPC; the TNAuthList has that SPC alone", STANDARDS),
    ),
)

PUBLICATION: Final = Step(
    "publication",
    "Publication of the chain",
    "Verifiers fetch the chain at the x5u that stands in every signature.",
    "a web server of yours, or the STI-CA's repository",
    "an https URL that everybody can read",
    needs=("certificate",),
    commands=("shakenctl publish stage NAME", "shakenctl publish check NAME"),
    check="publication",
    checked="the chain is in publication_dir; with --fetch, what strangers get at the x5u URL",
    facts=(
        Fact("no redirect, no user, query or fragment in the URL, ports 443 and 8443 only", "ATIS-1000074, by its lints"),
        Fact("verifiers keep what they fetched for a day if nothing else is said: a new chain gets a new URL", "ATIS-1000074"),
    ),
)

INSTALL: Final = Step(
    "install",
    "Pair in use",
    "The edge signs with it.",
    "this host: certificate_dir",
    "calls that leave signed",
    needs=("publication",),
    commands=("shakenctl publish switch NAME", "shakenctl certificates list", "shakenctl doctor"),
    check="install",
    checked="a pair of [provider] spc in certificate_dir signs now",
)

FIRST_CALL: Final = Step(
    "first-call",
    "First signed call",
    "Proof that all of it works together.",
    "this host: any call of a customer; then somebody else's verification",
    "a call that others see as verified",
    needs=("install",),
    commands=("shakenctl doctor", "shakenctl trace --orig NUMBER"),
    check="first_call",
    checked="the call record has a signed call of [provider] spc ([record] record_calls)",
    facts=(
        Fact(
            "A says that the caller is yours and the number his, B that the caller is yours, C that the call came in somewhere",
            "RFC 8588, ATIS-1000074",
        ),
    ),
)

RENEWAL: Final = Step(
    "renewal",
    "Renewal by a timer",
    "Certificates end; the next one has to be published before that.",
    "this host: cfg/shakenctl-renew.service and .timer, systemctl enable --now shakenctl-renew.timer",
    "no surprise on a Sunday",
    needs=("install",),
    commands=("shakenctl renew --dry-run",),
    check="renewal",
    checked="systemd starts shakenctl-renew.timer",
    facts=(
        Fact("order the next one after two thirds of the lifetime; publish first, switch later", "RFC 8224 7.4, the trade"),
    ),
)
