"""What is looked at: one edge by its settings file, read once and shared by all checks. Nothing here changes anything."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Final

from kamailio_app.credentials.credential import TrustAnchors
from kamailio_app.credentials.crl import Revocations
from kamailio_app.credentials.trust_list import TrustList
from kamailio_app.doctor import lists
from kamailio_app.doctor.finding import NotLookedAt
from kamailio_app.doctor.lists import Lists
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import access
from kamailio_app.lifecycle.access import DEFAULT_USER, User
from kamailio_app.lifecycle.server import DEFAULT_CONTROL, Kamailio
from kamailio_app.policy.rules import Policy
from kamailio_app.runtime import policy_file
from kamailio_app.runtime import settings as settings_file
from kamailio_app.runtime.certificate_list import Question, Wanted, wanted
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import Loaded, load_signers
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trusted import Trusted, with_listed
from kamailio_app.sti_as import Signer

DEFAULT_NTP: Final = "pool.ntp.org"
ROOT: Final = Path(__file__).resolve().parents[2]  # of the project: where kemi_scripts/ looks for packages
_MAX_MISTAKES: Final = 50
_SERVER_SECONDS: Final = 3.0
# Where `settings.parse` says that it stumbled: [section], [section] option
_PLACE: Final = re.compile(r": \[([^\]]+)\](?: (\w+))?")
_NO_SETTINGS: Final = "the settings file cannot be used"
ENABLE_CONTROL: Final = (
    'Load Kamailio\'s ctl module: loadmodule "ctl.so", modparam("ctl", "binrpc", "unix:/run/kamailio/kamailio_ctl"); '
    "another socket is named by --control."
)
START_OR_NAME: Final = (
    f"Is it running? systemctl status kamailio. If it is: {ENABLE_CONTROL[0].lower()}{ENABLE_CONTROL[1:]} "
    "If none is to run on this host: --no-server."
)


@dataclass
class Site:
    """`clock` gives seconds since 1970. `offline`: nothing outside of this host is asked. `fetch`: the self-call fetches what
    it has published. `served`: a Kamailio is to run here; if not, none is asked. `user`: Kamailio's; empty: as the
    running server says, else kamailio.
    """

    path: Path
    offline: bool = False
    fetch: bool = False
    served: bool = True
    control: str = DEFAULT_CONTROL
    ntp: str = DEFAULT_NTP
    user: str = ""
    clock: Callable[[], float] = time.time
    connect: Callable[[str, float], Kamailio] = Kamailio
    _asking: Lock = field(default_factory=Lock, repr=False)
    _fetching: Lock = field(default_factory=Lock, repr=False)

    @cached_property
    def now(self) -> float:
        """The same for all checks."""
        return self.clock()

    # --- Files --------------------------------------------------------------------------------------------------

    @cached_property
    def _read(self) -> tuple[Settings | None, tuple[StirError, ...]]:
        return leniently(self.path)

    @property
    def mistakes(self) -> tuple[StirError, ...]:
        """What is wrong with the settings file; with any of it no server starts."""
        return self._read[1]

    @property
    def settings(self) -> Settings:
        """As far as they can be read, without what is wrong. Errors: NotLookedAt."""
        if self._read[0] is None:
            raise NotLookedAt(_NO_SETTINGS, FAILURES["settings_malformed"].advice)
        return self._read[0]

    @cached_property
    def loaded(self) -> Loaded:
        """The pairs."""
        return load_signers(self.settings.certificate_dir, self.settings.public_cert_url, self.now)

    @cached_property
    def policy(self) -> Policy | None:
        """The signing policy; None also where it cannot be read, which is a finding of its own."""
        try:
            return policy_file.load(self.settings.policy_file) if self.settings.policy_file else None
        except StirError:
            return None

    @cached_property
    def choices(self) -> Choices:
        return Choices(self.loaded.signers, self.settings.sign_from, self.settings.certificate)

    @cached_property
    def wanted(self) -> Wanted:
        return wanted(self.settings.sign_from, self.policy)

    @property
    def signs(self) -> bool:
        """This edge is meant to sign."""
        return bool(self.settings.public_cert_url)

    def signing_now(self) -> dict[str, Signer]:
        """The pairs that sign calls at this time, by name. Errors: NotLookedAt if there is none."""
        if not self.signs:
            raise NotLookedAt(
                "[signing] public_cert_url is empty: this edge signs nothing", "Set public_cert_url if it is to sign."
            )
        questions: set[Question] = {("", ""), *self.wanted.questions}
        answers = (self.choices.look(self.now, *question) for question in sorted(questions))
        found = {answer.name: answer for answer in answers if isinstance(answer, Signer)}
        if not found:
            raise NotLookedAt("no pair signs now", "See pairs: who signs now.")
        return found

    def to_come(self) -> dict[str, Signer]:
        """The pairs whose time is still to come, by name."""
        return {
            name: signer
            for name, signer in self.loaded.signers.items()
            if self.now < self.choices.begins[name] < signer.not_after and name not in self.choices.shared
        }

    # --- Trust --------------------------------------------------------------------------------------------------

    @cached_property
    def trusted(self) -> Trusted:
        """Its own roots, none where they cannot be read, which is a finding of its own; and the STI-PA's lists on disk."""
        return Trusted(self.settings)

    @cached_property
    def _lists(self) -> Lists:
        return lists.fetched(self.settings, self.trusted.kept, self.clock)

    @property
    def lists_now(self) -> Lists:
        """The STI-PA's lists as they are at this moment; fetched once, and all wait for that."""
        with self._fetching:
            return self._lists

    def _in_place_of(self, kept: object, *sources: object) -> bool:
        """Nothing is kept of what the settings ask for, and it may be fetched: no server has run here yet."""
        return kept is None and any(sources) and not self.offline

    @property
    def trust_list(self) -> TrustList | None:
        """What the server keeps on disk, or, where it has kept none yet, what it would get now. Waits for the network then."""
        kept, rules = self.trusted.trust_list, self.settings.trust
        if self._in_place_of(kept, rules.trust_list_url, rules.trust_list_file):
            found = self.lists_now.trust_list
            return found if isinstance(found, TrustList) else None
        return kept

    @property
    def revocations(self) -> Revocations | None:
        """Likewise."""
        kept, rules = self.trusted.revocations, self.settings.trust
        if self._in_place_of(kept, rules.crl_url, rules.crl_file):
            found = self.lists_now.revocations
            return found if isinstance(found, Revocations) else None
        return kept

    @property
    def anchors(self) -> TrustAnchors:
        """All that are trusted; where the server has kept no list yet, by the one that it would get now. Errors: NotLookedAt
        if there are none.
        """
        found = with_listed(self.trusted.own, self.trust_list)
        if len(found):
            return found
        rules = self.settings.trust
        if not (rules.trust_list_url or rules.trust_list_file):
            raise NotLookedAt("no trust anchors", "Set [verification] ca_file or [trust] trust_list_url.")
        if self.offline:
            raise NotLookedAt(
                "no trust anchors: no server has kept the STI-PA's list here yet, and --offline fetches none",
                "Start the server, which fetches and keeps it; or look without --offline.",
            )
        raise NotLookedAt(
            "no trust anchors: no server has kept the STI-PA's list here yet, and it cannot be had now", "See trust: lists now."
        )

    # --- Server -------------------------------------------------------------------------------------------------

    @property
    def silence(self) -> StirError | None:
        """Why the Kamailio that is to run here does not answer; None if it does, or if none is to."""
        answer = self._asked() if self.served else None
        return answer if isinstance(answer, StirError) else None

    @cached_property
    def _answer(self) -> tuple[Kamailio, str] | StirError:
        server = self.connect(self.control, _SERVER_SECONDS)
        try:
            return server, server.version()
        except StirError as error:
            return error

    def _asked(self) -> tuple[Kamailio, str] | StirError:
        with self._asking:  # all of them wait for one who asks
            return self._answer

    @property
    def server(self) -> Kamailio:
        """The running Kamailio. Errors: NotLookedAt if it does not answer."""
        if not self.served:
            raise NotLookedAt("no Kamailio is asked (--no-server)", "Leave --no-server out where one is to run.")
        answer = self._asked()
        if isinstance(answer, StirError):
            raise NotLookedAt(f"no Kamailio answers: {one_line(answer.detail or str(answer))}", ENABLE_CONTROL)
        return answer[0]

    @property
    def version(self) -> str:
        """Of the running Kamailio. Errors: NotLookedAt if it does not answer."""
        answer = self._asked()
        return answer[1] if not isinstance(answer, StirError) else self.server.version()

    @cached_property
    def runs_as(self) -> User:
        """Whom Kamailio runs as. Errors: NotLookedAt if nothing says it."""
        if self.user:
            named = access.user(self.user)
            if named is None:
                raise NotLookedAt(f"there is no user {self.user}", "Name an existing one by --user.")
            return named
        try:
            found = access.runs_as(self.server.processes())
        except (NotLookedAt, StirError):
            found = None
        found = found or access.user(DEFAULT_USER)
        if found is None:
            raise NotLookedAt(f"no Kamailio runs here, and there is no user {DEFAULT_USER}", "Name its user by --user.")
        return found


def leniently(path: Path) -> tuple[Settings | None, tuple[StirError, ...]]:
    """The settings without the options that are wrong, and what is wrong with these. None: nothing of it can be read."""
    mistakes: list[StirError] = []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        text = None
    while len(mistakes) < _MAX_MISTAKES:
        try:
            return (settings_file.load(path) if text is None else settings_file.parse(path, text)), tuple(mistakes)
        except StirError as error:
            mistakes.append(error)
            shorter = _without(text, error) if text is not None else text
            if shorter == text:
                break
            text = shorter
    return None, tuple(mistakes)


def _without(text: str, error: StirError) -> str:
    """The text without the option or section that the error names; the same if it names none."""
    place = _PLACE.search(error.detail)
    if place is None:
        return text
    section, option = place.groups()
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        bare = line.partition("#")[0].strip()
        if bare.startswith("["):
            inside = bare == f"[{section}]"
        gone = inside and (option is None or re.match(rf"{re.escape(option)}\s*=", bare))
        kept.append("" if gone else line)
    return "\n".join(kept)
