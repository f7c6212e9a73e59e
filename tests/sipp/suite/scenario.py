"""What a scenario.toml says: the call that is sent, what has to come of it, and every case of both.

A case is the tables above it with its own over them; so a reader of `Case` never looks further up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from kamailio_app.errors import FAILURES
from kamailio_app.lab.network import CALLED, CALLER
from tests.sipp.suite import actions, strict
from tests.sipp.suite.identity import Recipe, check_names
from tests.sipp.suite.strict import ScenarioError, known
from tests.sipp.suite.target import CAPABILITIES, CHOICES, profile, profiles

ROOT: Final = Path(__file__).resolve().parents[1]
SIDES: Final = ("sign", "verify")
DATES: Final = ("near", "kept")
# What a PASSporT of each type always says
TYPES: Final = {
    "shaken": ("attest", "dest", "iat", "orig", "origid"),
    "div": ("dest", "iat", "orig"),
    "rcd": ("dest", "iat", "orig"),
    "rph": ("dest", "iat", "orig"),
    "base": ("dest", "iat", "orig"),  # in compact form
}
_NAME: Final = re.compile(r"[A-Za-z0-9._-]*")
_ANSWER: Final = re.compile(r"[2-6][0-9]{2}( \S.*)?")

Headers = dict[str, bool | str | tuple[str, ...]]
"""Header name -> true (there), false (absent), a regular expression, or the expressions of all its values in order."""


@dataclass(frozen=True)
class Call:
    """What the caller sends. `from`, `to`, `request_uri`: verbatim, without tag. `date`: seconds of age, or verbatim.

    `inside`: header lines of requests inside the dialog. `trunk`: one of the profile's trunks and places, from whose address
    it comes. `sdp`: lines at the end of the media's description.
    """

    caller: str = CALLER
    called: str = CALLED
    from_: str = ""
    to: str = ""
    request_uri: str = ""
    date: float | str = ""
    headers: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    identity: tuple[Recipe, ...] = ()
    trunk: str = ""
    sdp: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flow:
    """SIPp files of both ends: of the scenario's folder, else of call/. `options`: more of SIPp's for the caller."""

    caller: str = "uac.xml"
    callee: str = "uas.xml"
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Meanwhile:
    """Calls that are placed before the case's own and are still on their way when those come."""

    call: Call = field(default_factory=Call)
    calls: int = 4


@dataclass(frozen=True)
class Signed:
    """An Identity header that the system made; what is not said follows from the call. `origid`: a regular expression.

    `ppt`: one of `TYPES`; `claims`: the members that its type leaves to the call. `also`: those of other types behind it, of
    the same certificate, orig and dest if they do not say another. `date`: the Date header is "near" iat, or "kept" as the
    caller sent it and near.
    """

    attest: str = ""
    orig: str = ""
    dest: tuple[str, ...] = ()
    origid: str = ""
    ppt: str = "shaken"
    claims: dict[str, Any] = field(default_factory=dict)
    certificate: str = "good"
    also: tuple[Signed, ...] = ()
    count: int = 0  # of Identity headers, with those that came from the caller; 0: ours alone
    date: str = "near"

    @property
    def all(self) -> tuple[Signed, ...]:
        """It and those behind it, complete."""
        return (
            self,
            *(
                replace(one, orig=one.orig or self.orig, dest=one.dest or self.dest, certificate=self.certificate)
                for one in self.also
            ),
        )


@dataclass(frozen=True)
class Callee:
    """What the callee gets. `verstat` "": nowhere. `identity`: "none", "unchanged" (as the caller sent) or "signed".

    `copies`: at least so many INVITEs of the call, repeated or sent to another destination, all with the same Identity.
    `dialog`: headers of every request inside the dialog.
    """

    calls: int = 1  # for each that is placed
    verstat: str | None = None
    headers: Headers = field(default_factory=dict)
    identity: str | Signed = ""
    copies: int = 0
    dialog: Headers = field(default_factory=dict)

    @staticmethod
    def shorthand(value: object, where: str) -> dict[str, Any]:
        calls = {"nothing": 0, "once": 1}
        if value not in calls:
            raise ScenarioError(where, '"nothing", "once" or a table')
        return {"calls": calls[str(value)]}


@dataclass(frozen=True)
class Reason:
    """A Reason header field of protocol STIR (RFC 9410): code and phrase, and the number of the caller's Identity header
    whose signature it shows; 0: it shows none. Alone, the text is that of the header in the same place.
    """

    says: str
    identity: int = -1

    @staticmethod
    def shorthand(value: object, _where: str) -> dict[str, Any]:
        return {"says": value}


@dataclass(frozen=True)
class Expect:
    """What has to come of the call: `answer`, `callee` and one of `token`, `log` and `said`, at least. Several `answer`s: any.

    `said`: regular expression -> how often it stands in the system's log since its start. `asked`: how often the
    repository was asked for the certificates of the case's Identity headers. `reason`: the Reason header fields of
    protocol STIR in every answer but 100, in their order. `record`: what the record's line of the call says.
    """

    answer: tuple[str, ...] = ()
    answer_headers: Headers = field(default_factory=dict)
    token: str | None = None
    log: dict[str, str] = field(default_factory=dict)
    record: dict[str, str] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    asked: int | None = None
    reason: tuple[Reason, ...] | None = None
    callee: Callee | None = None


@dataclass(frozen=True)
class Case:
    """One call (or `calls` of them, `rate` each second) to a system with one profile."""

    name: str = ""
    profile: str = "tag"
    needs: tuple[str, ...] = ()
    choice: dict[str, str] = field(default_factory=dict)
    call: Call = field(default_factory=Call)
    flow: Flow = field(default_factory=Flow)
    calls: int = 1
    rate: int = 50
    meanwhile: Meanwhile | None = None
    before: tuple[actions.Action, ...] = ()
    during: tuple[actions.Action, ...] = ()
    expect: Expect = field(default_factory=Expect)

    @property
    def operates(self) -> bool:
        """Does it change the system? Then it shares it with no other scenario."""
        return bool(self.before or self.during)


@dataclass(frozen=True)
class Scenario:
    """One folder."""

    name: str
    title: str
    about: str
    clauses: tuple[str, ...]
    side: str
    needs: tuple[str, ...]
    cases: tuple[Case, ...]
    folder: Path

    @property
    def operates(self) -> bool:
        return any(case.operates for case in self.cases)

    def flow(self, name: str) -> Path:
        """The file of a flow: the folder's own, else the shared one."""
        places = (self.folder / name, ROOT / "call" / name)
        return next((place for place in places if place.is_file()), places[0])


@dataclass(frozen=True)
class _Head:
    """The keys of the file that are no case's."""

    title: str
    clauses: tuple[str, ...]
    side: str
    case: tuple[dict[str, Any], ...]
    about: str = ""
    needs: tuple[str, ...] = ()


_HEAD: Final = ("title", "about", "clauses", "side", "needs", "case")
_CASE_KEYS: Final = (
    "name",
    "profile",
    "needs",
    "choice",
    "call",
    "flow",
    "calls",
    "rate",
    "meanwhile",
    "before",
    "during",
    "expect",
)


def read(folder: Path) -> Scenario:
    """The scenario in a folder. Errors: ScenarioError."""
    path = folder / "scenario.toml"
    tables = strict.load(path)
    where = f"{folder.name}/scenario.toml"
    for name in tables:
        known(name, (*_HEAD, *_CASE_KEYS[3:], "profile"), "key", where)
    head = strict.read(_Head, {name: tables[name] for name in _HEAD if name in tables}, where)
    if not head.case:
        raise ScenarioError(where, "at least one [[case]] is needed")
    if not head.clauses or not all(head.clauses):
        raise ScenarioError(where, '"clauses" has to name at least one clause')
    known(head.side, SIDES, "side", where)
    shared = {name: value for name, value in tables.items() if name not in _HEAD}
    cases = tuple(_case(shared, table, f"{where} case {number}") for number, table in enumerate(head.case, 1))
    names = [case.name for case in cases]
    if len(set(names)) != len(names):
        raise ScenarioError(where, "two cases of one name")
    needs = tuple(dict.fromkeys((head.side, *head.needs)))
    scenario = Scenario(folder.name, head.title, head.about.strip(), head.clauses, head.side, needs, cases, folder)
    for case in cases:
        _check(scenario, case, f"{where} [{case.name}]")
    return scenario


def _case(shared: dict[str, Any], table: dict[str, Any], where: str) -> Case:
    return strict.read(Case, strict.merged(shared, table), f"{where} [{table.get('name', '')}]")


def _check(scenario: Scenario, case: Case, where: str) -> None:
    """Names that only the rest of the suite knows."""
    if not _NAME.fullmatch(case.name):
        raise ScenarioError(where, f'name "{case.name}": letters, digits, ".", "-" and "_" only; it stands in Call-IDs')
    for need in (*scenario.needs, *case.needs):
        known(need, CAPABILITIES, "capability", where)
    for choice, value in case.choice.items():
        known(choice, CHOICES, "choice", where)
        known(value, CHOICES[choice], f"{choice}", where)
    known(case.profile, profiles(), "profile", where)
    for call in (case.call, *((case.meanwhile.call,) if case.meanwhile else ())):
        if call.trunk:
            known(call.trunk, profile(case.profile).origins(scenario.side), "trunk", where)
    _check_expected(case.expect, where)
    for recipe in (*case.call.identity, *(case.meanwhile.call.identity if case.meanwhile else ())):
        check_names(recipe, where)
    for action in (*case.before, *case.during):
        actions.check_names(action, where)
    for name in (case.flow.caller, case.flow.callee):
        if not scenario.flow(name).is_file():
            raise ScenarioError(where, f'no SIPp file "{name}" in {scenario.name}/ or call/')


def _check_expected(expect: Expect, where: str) -> None:
    # Both ends and the log, in every case: a call may come out right for the wrong reason
    if not expect.answer:
        raise ScenarioError(where, 'what the caller gets is not said: "expect.answer" is needed')
    if expect.callee is None:
        raise ScenarioError(where, 'what the callee gets is not said: "expect.callee" is needed, if only "nothing" or "once"')
    if expect.token is None and not expect.log and not expect.said:
        raise ScenarioError(where, 'what the log has is not said: one of "token", "log" and "said" is needed in "expect"')
    if expect.token:
        known(expect.token, FAILURES, "token", where)
    for answer in expect.answer:
        if not _ANSWER.fullmatch(answer):
            raise ScenarioError(where, f'answer "{answer}" is no final code with its phrase')
    for reason in expect.reason or ():
        if not _ANSWER.fullmatch(reason.says):
            raise ScenarioError(where, f'reason "{reason.says}" is no code with its phrase')
    callee = expect.callee
    if callee and isinstance(callee.identity, str):
        known(callee.identity, ("", "none", "unchanged", "signed"), "identity", where)
    if callee and isinstance(callee.identity, Signed):
        known(callee.identity.date, DATES, "date", where)
        for one in callee.identity.all:
            known(one.ppt, TYPES, "type of PASSporT", where)


def find(*patterns: str) -> list[Scenario]:
    """The scenarios whose name fits one of the patterns (with * and ?), all without a pattern. Errors: ScenarioError."""
    folders = sorted(path.parent for path in ROOT.glob("*/scenario.toml"))
    for pattern in patterns:
        if not any(fnmatchcase(folder.name, pattern) for folder in folders):
            known(pattern, [folder.name for folder in folders], "scenario", "--scenario")
    return [read(folder) for folder in folders if not patterns or any(fnmatchcase(folder.name, one) for one in patterns)]
