"""Every failure this product can report: token, SIP answer, verstat, source, meaning, what to do.

One table. Logs, pseudo-variables, tests and the README use the tokens; the SIP side uses code and phrase.
Sources: RFC 8224 6.2.2 (codes and phrases), ATIS-1000082 error table (verstat), decisions in DECISIONS.md.
What a failure leads to (observe, tag, reject) is `policy.treatment`'s business, not this table's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

PASSED: Final = "TN-Validation-Passed"
FAILED: Final = "TN-Validation-Failed"
NOT_VALIDATED: Final = "No-TN-Validation"


class StirError(Exception):
    """A failure with a token from the table. `detail` is for the log and may hold a peer's text; `advice` is what to try next
    in this very case, where the token has several causes.
    """

    code: ClassVar[int] = 0
    phrase: ClassVar[str] = ""

    def __init__(self, token: str, detail: str = "", advice: str = "") -> None:
        super().__init__(token, detail)
        self.token = token
        self.detail = detail
        self._advice = advice

    @property
    def advice(self) -> str:
        """What an operator tries next."""
        return self._advice or FAILURES[self.token].advice

    def __str__(self) -> str:
        return f"{self.token}: {self.detail}" if self.detail else self.token


class StaleDate(StirError):
    """RFC 8224 6.2.2: the Date or iat is outside the freshness window."""

    code, phrase = 403, "Stale Date"


class UseIdentityHeader(StirError):
    """RFC 8224 6.2.2: an Identity header that we support is needed and absent."""

    code, phrase = 428, "Use Identity Header"


class BadIdentityInfo(StirError):
    """RFC 8224 6.2.2: the credential behind `info` cannot be had."""

    code, phrase = 436, "Bad Identity Info"


class UnsupportedCredential(StirError):
    """RFC 8224 6.2.2: the credential was had, and is not one that we accept."""

    code, phrase = 437, "Unsupported Credential"


class InvalidIdentityHeader(StirError):
    """RFC 8224 6.2.2: the header, the PASSporT or its signature is wrong."""

    code, phrase = 438, "Invalid Identity Header"


class NotSigned(StirError):
    """The authentication service leaves this request as it is. Never a reason to lose the call."""


class PolicyRefused(StirError):
    """A signing policy, inventory or call record that cannot be used. Stops the start; at a reload the former stay."""


class KeyPairRefused(StirError):
    """A private key and certificate that will not be used for signing. A pair in use stays in use."""


class TrustRefused(StirError):
    """A trust list or CRL that will not be used. The last good one stays in use."""


class SettingsRefused(StirError):
    """The settings file cannot be used. Stops the start; at a reload the former settings stay."""


class ProviderRefused(StirError):
    """A step on the way to a certificate that failed. What signs goes on signing."""


class InternalError(StirError):
    """A defect of ours. The call goes on, unsigned or unverified (decision 3)."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One row: `clause` is where the answer comes from, `advice` what an operator tries next."""

    error: type[StirError]
    clause: str
    meaning: str
    advice: str
    verstat: str = NOT_VALIDATED


_CLOCK = "Compare the clocks: ours with `chronyc tracking`, theirs by the Date header."
_PEER = "The signer has to mend it: send them the Identity header and this token."
_NUMBER = "`{}` in [identities] says where {} is read, [numbers] how numbers are dialled here."
_REPOSITORY = "Try `curl -v` on the x5u URL from this host; ask the signer if it is down for everybody."
_ANCHORS = "The last good one stays in use. See `kamcmd htable.get stirshaken trust_list` and `crl`; ask the STI-PA."
_FILE = "Mend the file in `certificate_dir` and reload; until then the former pair signs."
_POLICY = "Mend the policy file; `cfg/signing-policy.toml` explains it. `shakenctl policy test` tries it."
_INVENTORY = "Import it again: `shakenctl numbers import`."
_SETTINGS = "Mend the settings file; `cfg/stirshaken.toml` explains every option."

FAILURES: Final[dict[str, Failure]] = {
    # 403 Stale Date
    "date_missing": Failure(StaleDate, "RFC 8224 6.2 step 4", "No Date header, and one is needed.", _PEER),
    "date_malformed": Failure(StaleDate, "RFC 3261 20.17", "The Date header is no SIP-date.", _PEER),
    "date_stale": Failure(StaleDate, "RFC 8224 6.2 step 4", "The Date header is too old.", _CLOCK),
    "date_in_future": Failure(StaleDate, "RFC 8224 6.2 step 4", "The Date header lies in the future.", _CLOCK),
    "iat_stale": Failure(StaleDate, "RFC 8224 6.2 step 4", "The PASSporT was signed too long ago.", _CLOCK),
    "iat_in_future": Failure(StaleDate, "RFC 8224 12.1", "The PASSporT is signed in the future.", _CLOCK),
    # 428 Use Identity Header
    "identity_missing": Failure(
        UseIdentityHeader, "RFC 8224 6.2.2", "No Identity header.", "Nothing to verify: the call came unsigned."
    ),
    "ppt_unsupported": Failure(
        UseIdentityHeader, "RFC 8224 6.2 step 1", "No Identity header of a PASSporT type that we verify.", _PEER
    ),
    # 436 Bad Identity Info
    "info_malformed": Failure(BadIdentityInfo, "RFC 8224 6.2.2, ATIS-1000082 E7", "info is no URI in angle brackets.", _PEER),
    "x5u_refused": Failure(
        BadIdentityInfo,
        "ATIS-1000074 5.3.1",
        "The x5u URL is one that we do not fetch.",
        "The signer has to mend it: https, a public host name, port 443 or 8443, no query. In a laboratory: `x5u_ports` and "
        "`relax_x5u_private_addresses` in [x5u].",
    ),
    "x5u_unreachable": Failure(BadIdentityInfo, "RFC 8224 6.2.2", "The repository cannot be reached.", _REPOSITORY),
    "x5u_timeout": Failure(BadIdentityInfo, "RFC 8224 6.2.2", "The repository did not answer in time.", _REPOSITORY),
    "x5u_http_status": Failure(BadIdentityInfo, "RFC 8224 6.2.2", "The repository did not answer 200.", _REPOSITORY),
    "x5u_too_large": Failure(
        BadIdentityInfo, "RFC 8224 6.2.2", "The repository sent more than `max_certificate_bytes`.", _REPOSITORY
    ),
    "credential_not_at_hand": Failure(
        BadIdentityInfo,
        "decision 21",
        "The certificate would have to be fetched, and this call waits for nothing.",
        "An emergency call: nothing to do. The certificate is being fetched for the next call.",
    ),
    # 437 Unsupported Credential
    "credential_malformed": Failure(UnsupportedCredential, "RFC 8224 6.2.2", "What x5u holds is no certificate.", _REPOSITORY),
    "credential_untrusted": Failure(
        UnsupportedCredential,
        "RFC 8224 6.2 step 3",
        "The certificate does not chain to a trust anchor.",
        "Is its STI-CA in `ca_file`? If not, the signer's certificate is not from an approved CA.",
        FAILED,
    ),
    "credential_expired": Failure(
        UnsupportedCredential, "RFC 8224 6.2 step 4", "A certificate of the chain has expired.", _PEER, FAILED
    ),
    "credential_not_yet_valid": Failure(
        UnsupportedCredential, "RFC 8224 6.2 step 4", "A certificate of the chain is not valid yet.", _CLOCK, FAILED
    ),
    "credential_revoked": Failure(
        UnsupportedCredential, "RFC 5280 6.3, ATIS-1000080 6.4.1", "A certificate of the chain is revoked.", _PEER, FAILED
    ),
    "revocation_unknown": Failure(
        UnsupportedCredential,
        "RFC 5280 6.3",
        'There is no current CRL, and `crl_failure = "hard"`.',
        "See `kamcmd htable.get stirshaken crl`.",
    ),
    "credential_profile": Failure(
        UnsupportedCredential,
        "ATIS-1000080 6.4.1",
        'The certificate breaks the SHAKEN profile, and `certificate_profile = "strict"`.',
        _PEER,
        FAILED,
    ),
    "constraints_malformed": Failure(
        UnsupportedCredential, "RFC 9118 3", "The certificate's JWTClaimConstraints cannot be read.", _PEER, FAILED
    ),
    "credential_key_unsupported": Failure(
        UnsupportedCredential, "ATIS-1000080 6.4.1", "The certificate's key is not on P-256.", _PEER, FAILED
    ),
    "credential_usage_forbidden": Failure(
        UnsupportedCredential, "ATIS-1000080 6.4.1", "The certificate may not sign PASSporTs.", _PEER, FAILED
    ),
    "tnauthlist_missing": Failure(UnsupportedCredential, "RFC 8226 9", "The certificate has no TNAuthList.", _PEER, FAILED),
    "tnauthlist_malformed": Failure(
        UnsupportedCredential, "RFC 8226 9", "The TNAuthList is not the DER it has to be.", _PEER, FAILED
    ),
    # 438 Invalid Identity Header
    "identity_malformed": Failure(InvalidIdentityHeader, "RFC 8224 4", "The Identity header breaks its grammar.", _PEER),
    "identity_too_large": Failure(
        InvalidIdentityHeader, "decision 4", "The Identity header is larger than any honest one.", _PEER
    ),
    "identity_too_many": Failure(
        InvalidIdentityHeader, "decision 4", "There are more Identity headers than any honest call has.", _PEER
    ),
    "info_missing": Failure(InvalidIdentityHeader, "RFC 8224 4", "The Identity header has no info parameter.", _PEER),
    "info_mismatch": Failure(InvalidIdentityHeader, "RFC 8224 4.1", "info and x5u differ.", _PEER),
    "alg_mismatch": Failure(InvalidIdentityHeader, "RFC 8224 4.1", "alg of header and PASSporT differ.", _PEER),
    "ppt_mismatch": Failure(InvalidIdentityHeader, "RFC 8224 4.1", "ppt of header and PASSporT differ.", _PEER),
    "compact_form_unsupported": Failure(
        InvalidIdentityHeader,
        "RFC 8588 7, RFC 8946 4.1",
        "A PASSporT came in compact form that has to be in full form.",
        _PEER,
    ),
    "passport_malformed": Failure(InvalidIdentityHeader, "RFC 8225 3", "The PASSporT cannot be decoded.", _PEER),
    "jose_header_incomplete": Failure(
        InvalidIdentityHeader, "RFC 8225 4, RFC 8588 3", "The PASSporT's header lacks alg, ppt, typ or x5u.", _PEER
    ),
    "typ_unsupported": Failure(InvalidIdentityHeader, "RFC 8225 4.1", 'typ is not "passport".', _PEER),
    "alg_unsupported": Failure(InvalidIdentityHeader, "RFC 8225 4", "The PASSporT is not signed with ES256.", _PEER),
    "claim_missing": Failure(InvalidIdentityHeader, "RFC 8588 3-5", "A mandatory claim is absent.", _PEER),
    "claim_malformed": Failure(InvalidIdentityHeader, "RFC 8225 5", "A claim has the wrong type or form.", _PEER),
    "attest_invalid": Failure(InvalidIdentityHeader, "RFC 8588 4", "attest is not A, B or C.", _PEER),
    "orig_mismatch": Failure(
        InvalidIdentityHeader,
        "RFC 8224 6.2 step 5",
        "The caller is not the one that was signed.",
        "Did somebody on the way change the caller, or is the Identity of another call? `orig_source` in [identities] says "
        "where the caller is read.",
    ),
    "dest_mismatch": Failure(
        InvalidIdentityHeader,
        "RFC 8224 6.2 step 5",
        "The called number is not among those that were signed.",
        "Was the call diverted? If To and Request-URI differ: `dest_source` in [identities] says which counts.",
    ),
    "tn_not_authorized": Failure(
        InvalidIdentityHeader, "RFC 8226 9", "The certificate does not cover the calling number.", _PEER, FAILED
    ),
    "uri_not_authorized": Failure(
        InvalidIdentityHeader,
        "RFC 8226 9",
        "Who was signed is a SIP URI; certificates speak for telephone numbers alone.",
        "Signers sign the number: `orig_source` in [identities] says where it is read, [numbers] how it is dialled.",
    ),
    "claim_not_permitted": Failure(
        InvalidIdentityHeader,
        "RFC 8226 8, RFC 9118 4",
        "The certificate's JWTClaimConstraints forbid these claims.",
        _PEER,
        FAILED,
    ),
    "div_mismatch": Failure(
        InvalidIdentityHeader,
        "RFC 8946 4.2",
        "The diversions do not lead from the signed number to the called one.",
        "Who diverted the call has to sign that with a div PASSporT.",
    ),
    "rcd_digest_mismatch": Failure(
        InvalidIdentityHeader, "RFC 9795 6", "Rich call data does not match its digest.", "It is not shown; the call goes on."
    ),
    "rph_mismatch": Failure(
        InvalidIdentityHeader, "RFC 8443 4.2", "Resource-Priority is not what was signed.", "Treat it as absent."
    ),
    "rph_not_authorized": Failure(
        InvalidIdentityHeader,
        "RFC 8443 4.2",
        "Resource-Priority is signed by one who is not trusted with that.",
        "Treat it as absent. Is the signer to be trusted? See `rph_signers`.",
    ),
    "passport_replayed": Failure(
        InvalidIdentityHeader,
        "RFC 8224 12.1",
        "The PASSporT came before, in another call.",
        "See `replay_detection`: forks and loops through your own network look alike.",
    ),
    "signature_invalid": Failure(InvalidIdentityHeader, "RFC 8224 6.2 step 5", "The signature is wrong.", _PEER, FAILED),
    # Signing: the call goes on unsigned
    "certificate_none": Failure(
        NotSigned,
        "RFC 8224 6.1 step 1",
        "No certificate to sign with.",
        "Put key and certificate into `certificate_dir`.",
    ),
    "request_not_signed": Failure(
        NotSigned, "ATIS-1000074 5.2", "Not an initial INVITE.", "Call stir_sign for initial INVITEs only."
    ),
    "identity_present": Failure(
        NotSigned, "RFC 8946 4.1", "The request carries a shaken Identity already.", "It is passed on untouched."
    ),
    "orig_missing": Failure(
        NotSigned, "RFC 8224 8.1", "No calling telephone number.", _NUMBER.format("orig_source", "the caller")
    ),
    "dest_missing": Failure(
        NotSigned, "RFC 8224 8.1", "No called telephone number.", _NUMBER.format("dest_source", "who is called")
    ),
    "attest_unknown": Failure(
        NotSigned,
        "RFC 8588 4",
        "The routing script asked for an attestation that is not A, B or C.",
        "Mend the script.",
    ),
    "policy_unsigned": Failure(
        NotSigned,
        "RFC 8224 6.1 step 1",
        "The signing policy leaves this call unsigned.",
        "`shakenctl policy explain` says which rule.",
    ),
    "policy_rejected": Failure(
        NotSigned,
        "RFC 8224 6.1 step 1",
        "The signing policy rejects this call.",
        "`shakenctl policy explain` says which rule.",
    ),
    "certificate_ambiguous": Failure(
        NotSigned,
        "decision 54",
        "There are certificates of several providers, and nothing says whose call this is.",
        "Name `certificate` or `spc` in the signing policy's rule or customer.",
    ),
    "div_not_needed": Failure(
        NotSigned, "RFC 8946 4.1", "The call goes where it was signed to go, or carries no Identity.", "Nothing to do."
    ),
    "div_unlinked": Failure(
        NotSigned,
        "RFC 8946 4.1",
        "Who diverted the call is not among those whom it was signed for.",
        "Who diverted it before has to sign that; or name all who diverted it, the first one first.",
    ),
    # Signing policy, number inventory and call record
    "policy_malformed": Failure(PolicyRefused, "decision 51", "The signing policy cannot be used.", _POLICY),
    "inventory_unreadable": Failure(PolicyRefused, "decision 52", "The number inventory cannot be read.", _INVENTORY),
    "inventory_malformed": Failure(
        PolicyRefused,
        "decision 52",
        "The numbers to import are malformed.",
        "Mend these lines, or leave them out with `--skip-bad`. The former list stays in use.",
    ),
    "record_unreadable": Failure(
        PolicyRefused, "decision 53", "The call record cannot be read.", "Compare `record_dir` with where you look."
    ),
    # Key and certificate files
    "pair_incomplete": Failure(KeyPairRefused, "decision 6", "A key without its certificate, or the reverse.", _FILE),
    "pair_unreadable": Failure(KeyPairRefused, "decision 6", "The file cannot be read.", _FILE),
    "key_permissions": Failure(
        KeyPairRefused, "decision 6", "Others may read the private key.", "chmod 600 (or 640 with Kamailio's group)."
    ),
    "key_malformed": Failure(KeyPairRefused, "RFC 5958, RFC 5915", "No PKCS#8 or SEC1 private key in PEM.", _FILE),
    "key_curve_unsupported": Failure(KeyPairRefused, "RFC 8225 4", "The private key is not on P-256.", _FILE),
    "key_shared": Failure(
        KeyPairRefused,
        "decision 54",
        "One private key in the certificates of several providers.",
        "Each provider has a key of its own: make one and have it certified.",
    ),
    "key_mismatch": Failure(KeyPairRefused, "RFC 8224 6.1", "The key does not belong to the certificate.", _FILE),
    "certificate_malformed": Failure(KeyPairRefused, "RFC 8226 3", "The file holds no certificate in PEM.", _FILE),
    "certificate_expired": Failure(KeyPairRefused, "RFC 8224 6.1 step 3", "The certificate has expired.", _FILE),
    "certificate_not_yet_valid": Failure(KeyPairRefused, "RFC 8224 6.1 step 3", "The certificate is not valid yet.", _FILE),
    "public_cert_url_missing": Failure(
        KeyPairRefused, "RFC 8224 7.3", "Nobody could fetch this certificate.", "Set [signing] public_cert_url and reload."
    ),
    "certificate_unfit": Failure(KeyPairRefused, "ATIS-1000080 6.4.1", "No verifier would accept this certificate.", _FILE),
    # Trust list and CRL of the STI-PA
    "trust_list_malformed": Failure(TrustRefused, "ATIS-1000084", "The trust list cannot be read.", _ANCHORS),
    "trust_list_signature": Failure(TrustRefused, "ATIS-1000084", "The trust list's signature is wrong.", _ANCHORS),
    "trust_list_untrusted": Failure(
        TrustRefused, "ATIS-1000084", "Who signed the trust list does not chain to `sti_pa_ca_file`.", _ANCHORS
    ),
    "trust_list_expired": Failure(TrustRefused, "ATIS-1000084", "The trust list has expired.", _ANCHORS),
    "trust_list_rollback": Failure(
        TrustRefused,
        "ATIS-1000084",
        "The trust list is older than the one in use.",
        "The last good one stays in use. Another STI-PA than before? Remove `trust_list` from `state_dir` and restart.",
    ),
    "trust_unreachable": Failure(TrustRefused, "ATIS-1000084", "The trust list or CRL cannot be fetched.", _ANCHORS),
    "crl_malformed": Failure(TrustRefused, "RFC 5280 5", "The CRL cannot be read.", _ANCHORS),
    "crl_untrusted": Failure(
        TrustRefused, "RFC 5280 6.3.3", "The CRL is not signed by one that chains to `sti_pa_ca_file`.", _ANCHORS
    ),
    "crl_stale": Failure(
        TrustRefused, "RFC 5280 5.1.2.5", "The CRL's nextUpdate has passed, or its thisUpdate is still to come.", _ANCHORS
    ),
    "crl_rollback": Failure(TrustRefused, "RFC 5280 5.2.3", "The CRL is older than the one in use.", _ANCHORS),
    # Settings
    "settings_unreadable": Failure(SettingsRefused, "decision 7", "The settings file cannot be read.", _SETTINGS),
    "settings_malformed": Failure(SettingsRefused, "decision 7", "The settings file is not TOML.", _SETTINGS),
    "option_unknown": Failure(SettingsRefused, "decision 7", "No such option or section.", _SETTINGS),
    "option_invalid": Failure(SettingsRefused, "decision 7", "The option does not take this value.", _SETTINGS),
    # Ours
    # Keys, requests, SPC tokens
    "key_unreadable": Failure(
        ProviderRefused,
        "RFC 5958",
        "The private key cannot be read.",
        "Is it there, and may this user read it? `ls -l`. `shakenctl key new` makes one; the STI-CA account's, "
        "acme_account_key_file, is made by `shakenctl acme register`.",
    ),
    "key_exists": Failure(
        ProviderRefused,
        "RFC 5958",
        "There is a private key already, and it is not written over.",
        "Choose another name; move the old key away only when nothing signs with it.",
    ),
    "file_exists": Failure(
        ProviderRefused, "RFC 2986", "There is such a file already, and it is not written over.", "Choose another name."
    ),
    "file_unreadable": Failure(
        ProviderRefused, "RFC 7468", "The file cannot be read.", "Compare its name, and who may read it: `ls -l`."
    ),
    "file_unwritable": Failure(
        ProviderRefused,
        "RFC 7468",
        "The file cannot be written.",
        "Is there such a directory, may this user write there, is the disk full? `ls -ld`, `df -h`.",
    ),
    "request_invalid": Failure(
        ProviderRefused,
        "RFC 2986 4.1, ATIS-1000080 6.4.1",
        "No certificate request can be made of these values.",
        "Compare `provider_name`, `country` and `spc` in the settings' [provider], or the command's options.",
    ),
    "request_malformed": Failure(
        ProviderRefused,
        "RFC 2986 4",
        "This is no PKCS#10 certificate request.",
        "`shakenctl csr new` makes one; version 0 is the only one there is.",
    ),
    "file_unknown": Failure(
        ProviderRefused,
        "RFC 7468",
        "What is in the file was not recognized.",
        "Name its kind with `--type`, and the message says what is missing.",
    ),
    "spc_token_malformed": Failure(
        ProviderRefused,
        "RFC 9448 5",
        "The SPC token is not what RFC 9447 and RFC 9448 describe.",
        "Ask for another one; if it is the same, show the STI-PA this line.",
    ),
    "spc_token_untrusted": Failure(
        ProviderRefused,
        "RFC 9448 6",
        "Who signed the SPC token does not chain to `sti_pa_ca_file`.",
        "Compare `sti_pa_ca_file` with the STI-PA's root: staging and production have different ones.",
    ),
    "spc_token_signature": Failure(
        ProviderRefused,
        "RFC 9448 6",
        "The SPC token's signature is wrong.",
        "Was it copied whole? Ask for another one.",
    ),
    "spc_token_expired": Failure(
        ProviderRefused,
        "RFC 9448 6",
        "The SPC token is not valid now.",
        "Ask for a new one right before the order. " + _CLOCK,
    ),
    "spc_token_mismatch": Failure(
        ProviderRefused,
        "RFC 9448 6",
        "The SPC token is for something else than was asked for.",
        "Compare `spc` and the ACME account's key (`shakenctl key fingerprint`), then ask for another one.",
    ),
    # STI-PA
    "secret_missing": Failure(
        ProviderRefused,
        "RFC 9448 5.5, RFC 8555 7.3.4",
        "A password or a MAC key is not at hand.",
        "Put it alone into the first line of a file with mode 600 that the settings name, or into the environment variable.",
    ),
    "secret_permissions": Failure(
        ProviderRefused,
        "RFC 9448 5.5, RFC 8555 7.3.4",
        "Others may read the password or MAC key, or the group may change it.",
        "chmod 600 (or 640). If others have been on this host, have a new one made.",
    ),
    "tls_roots_unreadable": Failure(
        ProviderRefused,
        "RFC 9110 4.3.4",
        "The roots for a web server's certificate cannot be read.",
        "Name a file with certificates in PEM, or leave the option empty for those of the system.",
    ),
    "sti_pa_unset": Failure(
        ProviderRefused,
        "RFC 9448 5.5",
        "The settings do not say all that the STI-PA's account needs.",
        "Fill in [provider] spc, [sti_pa] and [trust] sti_pa_ca_file; `cfg/stirshaken.toml` explains them.",
    ),
    "sti_pa_unreachable": Failure(
        ProviderRefused,
        "RFC 9110 15",
        "The STI-PA does not answer, or not as it should.",
        "Try `curl -v` on the URL from this host.",
    ),
    "sti_pa_refused": Failure(
        ProviderRefused,
        "RFC 9448 5.5",
        "The STI-PA refuses what was asked for.",
        "Its own words stand above. Its portal shows what the account may: provider codes, and addresses it may come from.",
    ),
    "sti_pa_malformed": Failure(
        ProviderRefused,
        "RFC 8259, RFC 9448 5.5",
        "The STI-PA's answer is not what its API describes.",
        "Is `sti_pa_url` its API's host, and not that of its portal? If so, show the STI-PA this line.",
    ),
    "sti_pa_file_foreign": Failure(
        ProviderRefused,
        "RFC 5280 6.3.3, RFC 7515",
        "The file holds something else than the STI-PA's former one, and is not written over.",
        "Look what it is: `shakenctl inspect`. Choose another name, or move it away.",
    ),
    # STI-CA
    "pair_unknown": Failure(
        ProviderRefused,
        "RFC 8224 7.3",
        "There is no pair of that name that waits for its certificate.",
        "`shakenctl acme status` lists them; a name is made of letters, digits, _ . and -.",
    ),
    "certificate_waits": Failure(
        ProviderRefused,
        "RFC 8555 7.4",
        "There is a certificate already that is not in use yet.",
        "`shakenctl publish status` says how far it is; `shakenctl renew` takes it further.",
    ),
    "account_key_missing": Failure(
        ProviderRefused,
        "RFC 8555 7.3",
        "There is no key of an ACME account yet.",
        "`shakenctl acme register` makes it, and opens the account.",
    ),
    "state_busy": Failure(
        ProviderRefused,
        "RFC 8555 7.4",
        "Another shakenctl is at work in provider_state_dir.",
        "Let it finish: the timer may have started it. `systemctl status shakenctl-renew` shows that.",
    ),
    "acme_unreachable": Failure(
        ProviderRefused,
        "RFC 8555 6.1",
        "The STI-CA's ACME server cannot be reached.",
        "Try `curl -v` on `acme_directory` from this host; for a CA of its own, compare `acme_tls_ca_file`.",
    ),
    "acme_malformed": Failure(
        ProviderRefused,
        "RFC 8555 7",
        "The STI-CA's answer is not what ACME has.",
        "Is `acme_directory` the URL of the directory itself, and `acme_profile` that of this STI-CA?",
    ),
    "acme_refused": Failure(
        ProviderRefused,
        "RFC 8555 6.7",
        "The STI-CA refuses, in these words.",
        "Mend what it names, then run the command again: it goes on where it stopped. If nothing helps, show it this line.",
    ),
    "acme_rate_limited": Failure(
        ProviderRefused,
        "RFC 8555 6.6",
        "The STI-CA has had too many requests of ours.",
        "Wait. `shakenctl renew` knows when it may come again; do not run it with --now.",
    ),
    "acme_account_unknown": Failure(
        ProviderRefused,
        "RFC 8555 7.3.1",
        "The STI-CA has no account of this key.",
        "`shakenctl acme register` makes one.",
    ),
    "acme_account_refused": Failure(
        ProviderRefused,
        "RFC 8555 7.3.4",
        "The STI-CA does not open an account.",
        "Compare `eab_key_id` and `eab_key_file` with what the STI-CA gave you: they often work once and for a short time.",
    ),
    "acme_terms": Failure(
        ProviderRefused,
        "RFC 8555 7.3.3",
        "The STI-CA has terms of service to agree to.",
        "Read them at that URL, then `shakenctl acme register --agree`.",
    ),
    "acme_timeout": Failure(
        ProviderRefused,
        "RFC 8555 7.4",
        "The STI-CA takes longer than was waited for.",
        "Run the command again: it goes on where it stopped. `--wait` waits longer.",
    ),
    "acme_order_invalid": Failure(
        ProviderRefused,
        "RFC 8555 7.1.6",
        "The STI-CA gave the order up.",
        "Mend what it names, then run the command again: that makes a new order for the same key.",
    ),
    "acme_challenge_refused": Failure(
        ProviderRefused,
        "RFC 9448 6",
        "The STI-CA does not accept the SPC token.",
        "Compare `spc` with the token, and `spc_token_fingerprint` and `spc_token_tkvalue` with what the STI-CA checks.",
    ),
    "issued_mismatch": Failure(
        ProviderRefused,
        "RFC 8555 7.4, ATIS-1000080 6.4.1",
        "The certificate is not the one that was asked for.",
        "Nothing was written. For a certificate that came by hand: is it that of this NAME? Else show the STI-CA this line.",
    ),
    "issued_unfit": Failure(
        ProviderRefused,
        "RFC 8224 6.1, ATIS-1000080 6.4.1",
        "No verifier would accept the certificate.",
        "Nothing was written. `shakenctl inspect` says more; is the STI-CA's root in `ca_file` or on the STI-PA's list?",
    ),
    # Publication and rotation
    "publication_unset": Failure(
        ProviderRefused,
        "RFC 8224 7.3",
        "The settings do not say where chains are published.",
        "Set [signing] public_cert_url, and [publication] publication_dir if the web server is yours.",
    ),
    "publication_differs": Failure(
        ProviderRefused,
        "RFC 8224 7.3",
        "Another chain is published under that name.",
        "A changed certificate needs a new URL: give the new pair another NAME.",
    ),
    "rotation_refused": Failure(
        ProviderRefused,
        "RFC 8224 7.4",
        "That would leave calls unsigned, or verifiers without a chain.",
        "`shakenctl publish status` says what is next, and when.",
    ),
    # A running server, and what was looked at
    "input_unrecognised": Failure(
        ProviderRefused,
        "RFC 3261 7, RFC 8224 4",
        "What was given is no SIP request, Identity header, capture or log of ours.",
        "`shakenctl explain --help` has an example of each; `--type` says which it is.",
    ),
    "input_unreadable": Failure(
        ProviderRefused, "RFC 3261 7", "The file cannot be read.", "Compare its name, and whether you may read it: `ls -l`."
    ),
    "capture_unreadable": Failure(
        ProviderRefused,
        "RFC 3261 7, 18",
        "The capture cannot be read.",
        "Install `tshark`; try `tshark -r FILE -Y sip`. A large one: raise `--timeout`, or cut it with `editcap`.",
    ),
    "server_unreachable": Failure(
        ProviderRefused,
        "decision 20",
        "Kamailio does not answer on its control socket.",
        "Is it running, does it load ctl.so, may this user write to the socket? Name another socket with `--control`.",
    ),
    "server_refused": Failure(
        ProviderRefused,
        "decision 20",
        "Kamailio does not do what was asked for.",
        "Does its configuration include stirshaken.cfg? `kamcmd core.modules` shows what is loaded.",
    ),
    # The checklist
    "checklist_country_unknown": Failure(
        ProviderRefused, "decision 65", "There is no checklist for this country.", "Name one of those with `--country`."
    ),
    "checklist_value_invalid": Failure(
        ProviderRefused,
        "decision 65",
        "The value that is to be noted has not the form that it has where it is given out.",
        "`shakenctl onboard show STEP` says what a step takes, and where that form is from.",
    ),
    "checklist_proof_unreadable": Failure(
        ProviderRefused, "decision 65", "The file that is to be noted as a proof cannot be read.", "Compare its name: `ls -l`."
    ),
    "checklist_unreadable": Failure(
        ProviderRefused,
        "decision 65",
        "What was noted of the checklist cannot be read or written.",
        "Mend `onboarding.json` in `provider_state_dir`, or move it away and note again; may this user write there?",
    ),
    "internal_error": Failure(InternalError, "decision 3", "A defect of this software.", "Report it with the traceback."),
}


def failure(token: str, detail: str = "", advice: str = "") -> StirError:
    """The exception for a token, of the class of its SIP code. Raise it where the check is made.

    `advice`: instead of the table's, where that is about another cause of the same token.
    """
    return FAILURES[token].error(token, detail, advice)
