"""Systems under test and their profiles, from targets/NAME.toml and profiles/NAME.toml.

A target is started by the suite (`[start]`) or runs elsewhere (`[reach]`). A profile is a variation of its settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.sipp.suite import strict
from tests.sipp.suite.strict import ScenarioError, known

_ROOT: Final = Path(__file__).resolve().parents[1]
TARGETS: Final = _ROOT / "targets"
PROFILES: Final = _ROOT / "profiles"
MAX_ADDRESSED: Final = 30  # trunks and places of a profile

# What a target can do; scenarios name what they need
CAPABILITIES: Final = {
    "sign": "signs calls",
    "verify": "verifies calls",
    "attestation": "takes the attestation of each call from P-Attestation-Indicator",
    "reject": "can answer a failed verification with its code",
    "verstat": "tells the callee by verstat",
    "verstat-classes": "tells by verstat a call that could not be validated from one that was found wrong",
    "tolerant": "understands forms of Identity headers and chains that are met in the field and not in the grammar",
    "strict": "refuses what no clause forbids and no honest call has: sizes, depths, unused bits",
    "path": "validates the certificate's path to a trust anchor",
    "tnauthlist": "looks at the TNAuthList of the certificate",
    "park": "no worker waits while a certificate is fetched",
    "disk": "fetched certificates outlive a restart, and are renewed before they end",
    "div": "follows diversions by their div PASSporTs",
    "rcd": "checks rich call data against its digests",
    "rph": "checks Resource-Priority against its PASSporT",
    "constraints": "enforces JWTClaimConstraints",
    "profile-lint": "can refuse certificates that break the SHAKEN profile",
    "revocation": "reads the STI-PA's CRL",
    "trust-list": "reads the STI-PA's list of approved CAs",
    "replay": "recognises a PASSporT that came before in another call",
    "reason": "tells by Reason what was wrong with each Identity header, and keeps what is said of its own",
    "p-headers": "tells the callee by P-Attestation-Indicator and P-Origination-ID",
    "actions": "can treat each class of failures in its own way",
    "codes": "can answer by the tables of ATIS-1000082 and of France",
    "trunks": "can treat the calls of each trunk in its own way",
    "emergency": "lets emergency calls neither wait nor be refused",
    "policy": "signs by a policy of rules, customers, trunks and providers",
    "inventory": "knows who may use which number, and which never call",
    "sign-div": "signs who diverted a call",
    "sign-rcd": "signs the caller's name and why he calls",
    "sign-rph": "signs Resource-Priority",
    "sign-mky": "signs the keys of the media",
    "record": "keeps a record of the calls that it signs or refuses",
    "operate": "the suite can reload it and change its certificates",
}

# Where the standards leave room: what a target may choose. The first is the default.
CHOICES: Final = {
    "unsigned": ("tag", "pass"),  # the callee of an unsigned call: No-TN-Validation, or no verstat
    "parked-spoof": ("told", "silent"),  # a call that brings its own verstat in From and has to wait: is the callee told?
}


@dataclass(frozen=True)
class Start:
    """A Kamailio that the suite starts: `cfg` is one of cfg/, or a path beside the target's file; or `instead`, a file
    beside the target's that takes the place of stirshaken.cfg in kamailio-exec.cfg.

    `defines` and `environment` may hold {directory} {certificate_url} {key} {chain} {trusted} {here}.
    """

    cfg: str = "kamailio-exec.cfg"
    instead: str = ""
    defines: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 2


@dataclass(frozen=True)
class Side:
    """Where calls go in and come out: `to` host:port of the system, `from` our address, `callee` our host:port."""

    to: str
    from_: str
    callee: str


@dataclass(frozen=True)
class Repository:
    """Where the system fetches certificates. `directory` and `url`: a web server that is there already; else the
    suite listens at `listen` (host:port) and calls itself `name` in URLs.
    """

    directory: str = ""
    url: str = ""
    listen: str = "127.0.0.1:0"
    name: str = "localhost"


@dataclass(frozen=True)
class Reach:
    """A system that runs elsewhere. `trust_file`: where the suite writes its trust anchor; `key_directory`: where it
    puts the pair (good.key, good.pem) that the system signs with, or `certificate`: the PEM file of the one it signs
    with; `reload`: the command after all that.
    """

    sign: Side | None = None
    verify: Side | None = None
    repository: Repository = field(default_factory=Repository)
    trust_file: str = ""
    key_directory: str = ""
    certificate: str = ""
    reload: tuple[str, ...] = ()
    log_file: str = ""


@dataclass(frozen=True)
class Target:
    """One system. `profiles`: those that it has; none stated is all. `log`: does it write this project's log lines?"""

    name: str
    folder: str  # of its file
    title: str
    supports: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    choices: dict[str, str] = field(default_factory=dict)
    log: bool = True
    start: Start | None = None
    reach: Reach | None = None

    def lacks(self, needs: tuple[str, ...], profile: str, choice: dict[str, str]) -> str:
        """Why a case is not for this target; "" if it is."""
        if missing := [need for need in needs if need not in self.supports]:
            return f"the target does not claim: {', '.join(CAPABILITIES[need] for need in missing)}"
        if self.profiles and profile not in self.profiles:
            return f'the target has no profile "{profile}"'
        for name, value in choice.items():
            chosen = self.choices.get(name, CHOICES[name][0])
            if chosen != value:
                return f'about the choice {name} = "{value}"; the target chose "{chosen}"'
        return ""


def targets() -> list[str]:
    """Their names."""
    return sorted(path.stem for path in TARGETS.glob("*.toml"))


def target(name: str) -> Target:
    """By name, or by the path of its file. Errors: ScenarioError."""
    path = Path(name) if name.endswith(".toml") else TARGETS / f"{name}.toml"
    if not name.endswith(".toml"):
        known(name, targets(), "target", "--target")
    where = f"targets/{path.name}"
    found = strict.read(Target, {"name": path.stem, "folder": str(path.resolve().parent), **strict.load(path)}, where)
    for capability in found.supports:
        known(capability, CAPABILITIES, "capability", where)
    for profile in found.profiles:
        known(profile, profiles(), "profile", where)
    for choice, value in found.choices.items():
        known(choice, CHOICES, "choice", where)
        known(value, CHOICES[choice], choice, where)
    if (found.start is None) == (found.reach is None):
        raise ScenarioError(where, "either [start] or [reach]")
    if found.reach:
        for side in ("sign", "verify"):
            if side in found.supports and getattr(found.reach, side) is None:
                raise ScenarioError(where, f'it supports "{side}": [reach.{side}] is missing')
    return found


@dataclass(frozen=True)
class Profile:
    """Settings over the lab's stirshaken.toml, and what the system finds beside it.

    `certificates`: the pairs to sign with. `policy`: the signing policy; `inventory`: customer and number with a comma
    between; `do_not_originate`: numbers. `trunks` of the carriers and `inside` ones: each has an address of its own, by which
    the system's script knows it; the script says nothing of `places`, also of the inside. An address is {NAME} in the policy.
    `ready`: the system is up when its log has a line like this.
    """

    title: str
    certificates: tuple[str, ...] = ("good",)
    trunks: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    ready: str = ""
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    inventory: tuple[str, ...] = ()
    do_not_originate: tuple[str, ...] = ()

    @property
    def addressed(self) -> tuple[str, ...]:
        """All that have an address of their own."""
        return (*self.trunks, *self.inside, *self.places)

    def origins(self, side: str) -> tuple[str, ...]:
        """Of these, where calls of a side come from."""
        return self.trunks if side == "verify" else (*self.inside, *self.places)


@cache
def profiles() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(path.stem for path in PROFILES.glob("*.toml")))


def profile(name: str) -> Profile:
    """Errors: ScenarioError."""
    where = f"profiles/{name}.toml"
    found = strict.read(Profile, strict.load(PROFILES / f"{name}.toml"), where)
    if len(set(found.addressed)) != len(found.addressed):
        raise ScenarioError(where, "two trunks or places of one name")
    if len(found.addressed) > MAX_ADDRESSED:
        raise ScenarioError(where, f"more than {MAX_ADDRESSED} trunks and places")
    return found
