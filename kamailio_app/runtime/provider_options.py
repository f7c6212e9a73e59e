"""Options of the way to a certificate: the provider, its STI-PA account, its STI-CA, where its chains are published.

They are for `shakenctl`; a server that is its own repository (sti-cr-kamailio.cfg) reads publication_dir. What the values
become is `provider`'s business.
"""

from __future__ import annotations

from typing import Final

from kamailio_app.runtime.option import Option

ACME_PROFILES: Final = ("rfc9448", "peeringhub", "martini", "acme2certifier")

PROVIDER_SECTIONS: Final[dict[str, tuple[str, tuple[Option, ...]]]] = {
    "provider": (
        "The service provider that gets the certificate. This section and those below are for `shakenctl`; of them a server "
        "reads publication_dir, if it is its own repository (sti-cr-kamailio.cfg).",
        (
            Option(
                "provider_name",
                "",
                "Legal name: O in the certificate's subject.",
                "ATIS-1000080 6.4.1",
                '"Example Telephone Company"',
            ),
            Option(
                "country",
                "US",
                "Two letters: C in the certificate's subject, and which steps `shakenctl onboard` shows.",
                "ISO 3166",
                '"CA"',
                pattern="[A-Z]{2}",
            ),
            Option(
                "spc",
                "",
                "Service provider code: in the United States the OCN.",
                "ATIS-1000080 6.4.1",
                '"1234"',
                pattern="[0-9A-Z]{0,16}",
            ),
            Option(
                "provider_state_dir",
                "/var/lib/kamailio-stirshaken/provider",
                "What `shakenctl` remembers: account keys, pairs that are not in use yet, the checklist.",
                "ours",
                '"/var/lib/kamailio-stirshaken/provider"',
            ),
        ),
    ),
    "sti_pa": (
        "The account at the STI-PA, which issues SPC tokens.",
        (
            Option(
                "sti_pa_url",
                "",
                "Where its API is. Calls go to /api/v1 below it.",
                "the STI-PA's API, as iconectiv documents it",
                '"https://authenticate-api.iconectiv.com"',
            ),
            Option("sti_pa_user", "", "User id of the API account.", "the STI-PA's API", '"api-user@example.net"'),
            Option(
                "sti_pa_password_file",
                "",
                "File whose first line is the password; nobody but its owner and group may read it. Empty: the environment "
                "variable STIRSHAKEN_STI_PA_PASSWORD.",
                "ours",
                '"/etc/kamailio/stirshaken-secrets/sti-pa-password"',
            ),
            Option(
                "sti_pa_tls_ca_file",
                "",
                "Roots of its web server's certificate. Empty: those of the system.",
                "ours",
                '"/etc/ssl/lab-ca.pem"',
            ),
            Option(
                "spc_token_fingerprint",
                "jwk",
                "Of which form of the ACME account key the token has the SHA-256: jwk (its JWK thumbprint) or spki (its DER).",
                "RFC 9448 5.4; spki is met in the field",
                '"spki"',
                choices=("jwk", "spki"),
            ),
            Option(
                "spc_token_tkvalue",
                "base64",
                "How the TNAuthList is written in the request for a token: base64 (padded) or base64url.",
                "the STI-PA's API; RFC 9448 has base64url",
                '"base64url"',
                choices=("base64", "base64url"),
            ),
        ),
    ),
    "sti_ca": (
        "The STI-CA, which issues certificates by ACME.",
        (
            Option(
                "acme_directory",
                "",
                "URL of its ACME directory.",
                "RFC 8555 7.1.1",
                '"https://stica.example.net/acme/directory"',
            ),
            Option(
                "acme_profile",
                "rfc9448",
                "What is particular about it: how identifiers and challenge responses are written.",
                "RFC 9447, RFC 9448",
                '"peeringhub"',
                choices=ACME_PROFILES,
            ),
            Option("acme_contact", "", "An e-mail address for its notices.", "RFC 8555 7.3", '"noc@example.net"'),
            Option(
                "acme_account_key_file",
                "",
                "Private key of the ACME account. Empty: acme-account.key in provider_state_dir, made when it is needed.",
                "ours",
                '"/etc/kamailio/stirshaken-secrets/acme-account.key"',
            ),
            Option("eab_key_id", "", "Key identifier of the external account binding.", "RFC 8555 7.3.4", '"kid-1"'),
            Option(
                "eab_key_file",
                "",
                "File with its MAC key in base64url; nobody but its owner and group may read it. Empty: the environment "
                "variable STIRSHAKEN_EAB_KEY.",
                "RFC 8555 7.3.4",
                '"/etc/kamailio/stirshaken-secrets/eab-key"',
            ),
            Option(
                "acme_tls_ca_file",
                "",
                "Roots of its web server's certificate. Empty: those of the system.",
                "ours",
                '"/etc/ssl/lab-ca.pem"',
            ),
            Option(
                "renew_after",
                0.66,
                "When a certificate is renewed, as a share of its lifetime.",
                "the trade's two thirds",
                "0.5",
                bounds=(0.1, 0.95),
            ),
        ),
    ),
    "publication": (
        "Where verifiers fetch the chains: the place behind public_cert_url.",
        (
            Option(
                "publication_dir",
                "",
                "Directory of a web server of yours, where NAME.pem is put: sti-cr-nginx.conf, or Kamailio itself with "
                "sti-cr-kamailio.cfg. Empty: the STI-CA's repository serves it, or you put it there.",
                "ours",
                '"/var/www/sti-cr"',
            ),
            Option(
                "publication_tls_ca_file",
                "",
                "Roots that its web server's certificate is checked with. Empty: those of the system, which verifiers have.",
                "ours",
                '"/etc/ssl/lab-ca.pem"',
            ),
            Option(
                "switch_after",
                300,
                "Seconds between a chain's publication and the first call that is signed with it.",
                "ours: time for a content delivery network",
                "60",
                bounds=(0, 604800),
            ),
            Option(
                "keep_published_hours",
                24,
                "Hours that a chain stays published after its certificate has ended or was replaced.",
                "RFC 8224 7.4: as long as signed requests may be under way",
                "48",
                bounds=(1, 8760),
            ),
        ),
    ),
}
