"""Who gets which attestation: the call that the signing policy is asked about, and what it decides.

The policy itself is `rules`; its file is read by `runtime.policy_file`. Who may use a number, and which numbers never call,
are look-ups: whoever can wait for them says what came of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from kamailio_app.passport.claims import Attestation
from kamailio_app.tn import NumberPlan

CallerIn = Literal["own", "other", "none"]
OnIdentity = Literal["pass", "replace", "div"]
UNSIGNED_CODE: Final = 503
UNSIGNED_PHRASE: Final = "Service Unavailable"


class Call(NamedTuple):
    """What rules ask about. Numbers canonical, empty if there is none; names as `Policy.place` says them."""

    caller: str
    called: str
    trunk: str = ""
    customer: str = ""
    source: str = ""  # IP address
    port: int = 0
    transport: str = ""  # udp tcp tls sctp ws wss
    tls_peer: str = ""  # names in the TLS client's certificate, with spaces between
    identity: bool = False  # carries a shaken Identity
    emergency: bool = False
    asked: str = ""  # the attestation that the script asks for: A, B, C or nothing


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a call. `attest` None: what the script asks, else `attest_level`.

    `code` and `phrase`: the answer to a rejected call, or to one that cannot be signed where `unsigned` is "reject".
    `certificate` is the NAME of a pair, `origid` a UUID, "call" (a new one), "trunk" or "customer" (theirs). `identity`: what
    happens to a call that carries a shaken Identity already.
    """

    rule: str
    action: Literal["sign", "pass", "reject"] = "sign"
    attest: Attestation | None = None
    code: int = 0
    phrase: str = ""
    certificate: str = ""
    spc: str = ""
    origid: str = "call"
    identity: OnIdentity = "pass"
    drop_malformed: bool = False
    div: bool = False
    rph: bool = False
    rcd: bool = False
    mky: bool = False
    uri: bool = False
    base: bool = False
    p_headers: bool = False
    unsigned: Literal["pass", "reject"] = "pass"
    further: bool = field(init=False, default=False)  # there is more to sign than a shaken PASSporT

    def __post_init__(self) -> None:
        object.__setattr__(self, "further", self.div or self.rcd or self.rph or self.mky or self.uri or self.base)


@dataclass(frozen=True, slots=True)
class Customer:
    """Who is responsible for calls. `certificate` and `spc` are his provider's: nothing else signs his calls (FCC 24-120).

    `display_name`, `call_reason`, `logo` and `logo_digest` are told in rcd.
    """

    name: str
    certificate: str = ""
    spc: str = ""
    origid: str = ""
    display_name: str = ""
    call_reason: str = ""
    logo: str = ""
    logo_digest: str = ""


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where calls come in: one of the networks of `source` (any if there is none), over `transport`, from `tls_peer`.

    `says` is what its calls get where no rule says it: parts of a `Decision`. `bypass` is the token for calls that cannot be
    signed, where the country has such (header field `bypass_header`).
    """

    name: str
    customer: str = ""
    source: tuple[str, ...] = ()
    transport: tuple[str, ...] = ()
    tls_peer: tuple[str, ...] = ()
    plan: NumberPlan | None = field(default=None, hash=False)
    country: str = ""
    origid: str = ""
    bypass_header: str = ""
    bypass: str = ""
    says: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def places(self) -> bool:
        """Is it known by where a call comes from, not only by what the script says?"""
        return bool(self.source or self.transport or self.tls_peer)


class Place(NamedTuple):
    """Where a call comes in and who is responsible for it: names that count, empty if there is none."""

    trunk: Trunk | None
    name: str
    customer: str


class Step(NamedTuple):
    """One rule that was looked at: does it decide, and if not, the first condition that the call does not meet."""

    rule: str
    matches: bool
    why: str


def caller_in(owners: Collection[str], customer: str) -> CallerIn:
    """What the inventory says of a number that `owners` may use, for a call of `customer`."""
    if customer and customer in owners:
        return "own"
    return "other" if owners else "none"
