"""The staged switch from one pair to the next (RFC 8224 7.3, 7.4): published first, signed with later, the old one kept until
all that was signed with it is stale.

Each step is taken when the one before it is seen to have worked, and again after a crash between any two. What the directories
say counts; rotation.json remembers since when. Calls that are signed now stay signed: a step that would change that is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, NamedTuple

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle import access, installation, pairs
from kamailio_app.lifecycle.pairs import Pending
from kamailio_app.lifecycle.publication import Seen, check
from kamailio_app.lifecycle.rotation_memory import Memory
from kamailio_app.lifecycle.server import DEFAULT_CONTROL, Kamailio
from kamailio_app.runtime import in_use, policy_file
from kamailio_app.runtime.certificate_list import Question, wanted
from kamailio_app.runtime.choice import Choices, Refusal, moment, provider
from kamailio_app.runtime.keystore import Loaded, Pair, load_signers, make_signer
from kamailio_app.runtime.provider import PublicationRules
from kamailio_app.runtime.published import name_of
from kamailio_app.runtime.settings import Settings
from kamailio_app.sti_as import Signer

Action = Literal["publish", "look", "switch", "reload", "retire"]
State = Literal["done", "waits", "failed"]
Look = Callable[[str, bytes], Seen]

_HOUR: Final = 3600
_PAIRS, _RETIRED = "pairs", "retired"  # in provider_state_dir
_RELOAD: Final = "then: kamcmd pv.shvSet stirshaken int $(date +%s)"
_REFUSED: Final = "the server's log says why: grep 'stirshaken: .* refused'"
_RENEW: Final = "`shakenctl renew --now` gets another"
_NOBODY: Final[Question] = ("", "")


class Step(NamedTuple):
    """What was done with a pair, or is to be done: `when` in seconds since 1970, 0 for now. `words` say how it went."""

    pair: str
    action: Action
    state: State
    when: float
    words: str


class Place(NamedTuple):
    """Where a pair goes: its NAME in certificate_dir, the URL that verifiers fetch."""

    name: str
    url: str


class Standing(NamedTuple):
    """One pair of any kind. `stage`: requested, issued, published, superseded (a younger one signs already), installed (not
    signing yet, or Kamailio was not seen to use it), signs, replaced, ended, revoked, withdrawn (somebody took it out of
    certificate_dir) or refused; `next`: what is to come, if anything is.
    """

    name: str
    stage: str
    signer: Signer | None
    url: str
    next: Step | None
    trouble: str = ""


def advance(
    settings: Settings, now: float, *, control: str = DEFAULT_CONTROL, look: Look | None = None, names: tuple[str, ...] = ()
) -> list[Step]:
    """Do what can be done now with all pairs (or these), and say what is next and when. Hold `pairs.alone` meanwhile.

    What fails for one pair is a step that says so, and the others go on. Errors: those of settings, policy and directories that
    concern all: `file_unreadable`, `file_unwritable`, `policy_malformed`, ...
    """
    return Rotation(settings, now, Kamailio(control), look).advance(names)


@dataclass
class Rotation:
    """The pairs at this time. `look` fetches a chain as strangers do; None: over the network, by the settings."""

    settings: Settings
    now: float
    server: Kamailio
    look: Look | None = None
    memory: Memory = field(init=False)
    _doing: Action = field(default="publish", init=False)

    def __post_init__(self) -> None:
        self.memory = Memory.read(self._state_dir, self.now)

    # --- What there is ----------------------------------------------------------------------------------------------

    @property
    def _rules(self) -> PublicationRules:
        return self.settings.provider.publication

    @property
    def _state_dir(self) -> Path:
        return self.settings.provider.state_dir

    @property
    def _directory(self) -> Path:
        return self.settings.certificate_dir

    @cached_property
    def _questions(self) -> tuple[Question, ...]:
        """Whose calls there are, by the signing policy."""
        policy = policy_file.load(self.settings.policy_file) if self.settings.policy_file else None
        return (_NOBODY, *sorted(wanted(self.settings.sign_from, policy).questions))

    @cached_property
    def _revoked(self) -> frozenset[str]:
        return pairs.revoked(self._state_dir)

    def loaded(self) -> Loaded:
        """The pairs in certificate_dir at this moment."""
        return load_signers(self._directory, self.settings.public_cert_url, self.now)

    def _answers(self, signers: Mapping[str, Signer], at: float) -> dict[Question, Signer | Refusal]:
        choices = Choices(signers, self.settings.sign_from, self.settings.certificate)
        return {question: choices.look(at, *question) for question in self._questions}

    def _signing(self, signers: Mapping[str, Signer]) -> dict[str, Signer]:
        """Those that sign calls now."""
        return {found.name: found for found in self._answers(signers, self.now).values() if isinstance(found, Signer)}

    def waiting(self) -> list[Pending]:
        """Pairs that have a certificate and are not in use, or whose use Kamailio was not told of; the one that begins first
        first. What somebody took out of certificate_dir is not put back. Errors: `file_unreadable`.
        """
        found = [
            pair
            for pair in pairs.pending(self._state_dir)
            if (pair.state in ("issued", "published") and not pair.revoked)
            or (pair.state == "installed" and not self.memory.of(self._place_name(pair)).reloaded and self._is_installed(pair))
        ]
        return sorted(found, key=lambda pair: (self._begins(pair), pair.name))

    def _begins(self, pair: Pending) -> float:
        with suppress(StirError):
            return self.signer(pair).not_before
        return 0

    def place(self, pair: Pending) -> Place:
        """Errors: `publication_unset`, also where the STI-CA's repository has URLs of another form than public_cert_url."""
        form = self.settings.public_cert_url
        if not form:
            raise failure("publication_unset", "[signing] public_cert_url")
        told = pairs.recall(self._state_dir, pair.name).x5u
        if self._rules.directory is not None or not told:
            return Place(pair.name, form.replace("{name}", pair.name))
        name = name_of(form, told)
        if not name:
            raise failure("publication_unset", f"the STI-CA publishes {pair.name} at {told}, public_cert_url is {form}")
        return Place(name, told)

    def signer(self, pair: Pending) -> Signer:
        """The pair as it would sign. Errors: those of `place`, `read` and `make_signer`, but not those of time."""
        key, chain = installation.read(pair.key_file), installation.read(pair.chain_file)
        return make_signer(self.place(pair).name, Pair(key, chain), self.settings.public_cert_url, None)

    def _is_installed(self, pair: Pending) -> bool:
        try:
            name = self.place(pair).name
            key, chain = installation.read(pair.key_file), installation.read(pair.chain_file)
            return installation.installed(self._directory, name, key, chain)
        except StirError:
            return False

    def advance(self, names: tuple[str, ...] = ()) -> list[Step]:
        """Do what can be done now with all pairs, or these."""
        steps: list[Step] = []
        for pair in self.waiting():
            if names and pair.name not in names:
                continue
            younger = self._superseded(pair)
            steps += [Step(pair.name, "switch", "waits", 0, _never(pair.name, younger))] if younger else self.forward(pair)
        return steps + self.retire(names)

    def _superseded(self, pair: Pending) -> str:
        """The younger pair that signs already, so that this one never will; empty if there is none."""
        try:
            return "" if pair.state == "installed" else self._younger(self.signer(pair), self.loaded().signers)
        except StirError:
            return ""

    # --- Forward ----------------------------------------------------------------------------------------------------

    def forward(self, pair: Pending, *, hurry: bool = False, only_publish: bool = False) -> list[Step]:
        """Take a pair as far as it goes now; what fails is the last step. `hurry`: without waiting for switch_after;
        `only_publish`: publish it and look, no more. Errors: `file_unwritable` for rotation.json.
        """
        steps: list[Step] = []
        self._doing = "publish"
        try:
            for step in self._forward(pair, hurry, only_publish):
                steps.append(step)
                self.memory.save()
        except StirError as error:
            steps.append(Step(pair.name, self._doing, "failed", 0, one_line(str(error))))
        self.memory.save()
        return steps

    def _forward(self, pair: Pending, hurry: bool, only_publish: bool) -> Iterator[Step]:
        place = self.place(pair)
        key, chain = installation.read(pair.key_file), installation.read(pair.chain_file)
        if installation.installed(self._directory, place.name, key, chain):
            yield from self._installed(pair, place)
            return
        if pair.revoked:
            raise failure("rotation_refused", f"the certificate of {pair.name} is revoked; {_RENEW}")
        signer = self.signer(pair)
        if signer.not_after <= self.now:
            raise failure("certificate_expired", f"{pair.name}, {moment(signer.not_after)}")
        yield from self._publish(pair, place, chain)
        yield (looked := self._look_at(pair, place, chain))
        if looked.state == "failed":
            return
        self._doing = "switch"
        due = self.memory.of(place.name).seen + self._rules.switch_after
        if only_publish or (self.now < due and not hurry):
            words = f"switch_after: {self._rules.switch_after} s after it was first seen there"
            yield Step(pair.name, "switch", "waits", due, words)
            return
        words = self._effect(signer)
        installation.install(self._directory, place.name, key, chain, self._group())
        yield Step(pair.name, "switch", "done", 0, f"{place.name} is in {self._directory}{words}")
        yield from self._installed(pair, place)

    def _publish(self, pair: Pending, place: Place, chain: bytes) -> Iterator[Step]:
        directory = self._rules.directory
        if directory is not None and installation.publish(directory, place.name, chain):
            self.memory.of(place.name).published = self.now
            yield Step(pair.name, "publish", "done", 0, f"{directory / place.name}.pem")

    def _look_at(self, pair: Pending, place: Place, chain: bytes) -> Step:
        """What was seen once and is not any more is waited for anew."""
        self._doing = "look"
        times = self.memory.of(place.name)
        seen = self.look(place.url, chain) if self.look else check(self.settings, place.url, chain, now=self.now)
        if not seen.ok:
            times.seen = 0
            return Step(pair.name, "look", "failed", 0, seen.bad())
        times.seen = times.seen or self.now
        pairs.mark(self._state_dir, pair.name, "published")
        return Step(pair.name, "look", "done", 0, f"strangers get it at {place.url}")

    def _installed(self, pair: Pending, place: Place) -> Iterator[Step]:
        """It lies where Kamailio looks: has Kamailio looked?"""
        self._doing = "reload"
        times = self.memory.of(place.name)
        again = bool(times.installed)
        times.installed = times.installed or self.now
        installation.tidy(self._directory, place.name)
        pairs.mark(self._state_dir, pair.name, "installed")
        if not times.reloaded:
            step = self._reload(pair.name, place.name, in_use.mark(self.signer(pair)))
            times.reloaded = self.now if step.state == "done" else 0
            yield _in_earnest(step) if again else step

    def _reload(self, pair: str, name: str, mark: str = "") -> Step:
        """Have Kamailio read NAME, and see that it uses this one; without a `mark`, that it has let go of it."""
        try:
            found = self.server.in_use()
            if found.epoch is None or found.pairs.get(name, "") != mark:
                taken_over = self.server.take_over()
                if taken_over is None:
                    return Step(pair, "reload", "waits", 0, f"Kamailio was told, and has not taken it over yet; {_RELOAD}")
                found = taken_over
        except StirError as error:
            return Step(pair, "reload", "waits", 0, f"{one_line(str(error))}; {_RELOAD}")
        uses = found.pairs.get(name, "")
        if uses != mark:
            words = f"Kamailio was told, and {'goes on with' if uses else 'does not use'} {name}; {_REFUSED}"
            return Step(pair, "reload", "failed", 0, words)
        return Step(pair, "reload", "done", 0, f"Kamailio {'uses' if mark else 'has let go of'} {name}")

    def _group(self) -> int | None:
        """Whose group the pair is to have so that Kamailio can read it; None: that of the directory.

        Errors: `rotation_refused` if it could not read it, `file_unreadable`.
        """
        try:
            user = access.runs_as(self.server.processes())
        except StirError:  # nobody there who has to read it now
            return None
        if user is None:
            return None
        try:
            refused = access.refusal(user, self._directory, access.READ | access.ENTER)
            group = self._directory.stat().st_gid
        except OSError as error:
            raise failure("file_unreadable", f"{self._directory}: {error.strerror}") from error
        if refused:
            raise failure("rotation_refused", f"{refused}; Kamailio has to")
        if user.uid == 0 or group in user.groups:
            return None
        if os.geteuid() != 0 and user.group not in (os.getegid(), *os.getgroups()):
            raise failure("rotation_refused", f"{user.name} could not read the key; then: chgrp {user.name} {self._directory}")
        return user.group

    def _effect(self, signer: Signer) -> str:
        """What the switch would change; words for what it would not.

        Errors: `rotation_refused` if calls that are signed would not be, or a younger pair signs already.
        """
        there = self.loaded().signers
        with_it = {**there, signer.name: signer}
        self._refuse_if_unsigned(there, with_it)
        begins = max(self.now, signer.not_before, self.settings.sign_from.get(signer.name, 0))
        later = self._answers(with_it, begins).values()
        if any(isinstance(found, Signer) and found.name == signer.name for found in later):
            return f"; it signs from {moment(begins)}" if begins > self.now else ""
        if younger := self._younger(signer, there):
            raise failure("rotation_refused", _never(signer.name, younger))
        return "; no call is signed with it as the settings are: see `certificate` and the signing policy"

    def _younger(self, signer: Signer, there: Mapping[str, Signer]) -> str:
        """Who signs, being younger, when this one could begin; empty if nobody does."""
        with_it = {**there, signer.name: signer}
        begins = max(self.now, signer.not_before, self.settings.sign_from.get(signer.name, 0))
        later = [found for found in self._answers(with_it, begins).values() if isinstance(found, Signer)]
        if any(found.name == signer.name for found in later):
            return ""
        found = {each.name for each in later if _same(each, signer) and each.name != self.settings.certificate}
        return ", ".join(sorted(name for name in found if self._age(with_it[name]) > self._age(signer)))

    def _refuse_if_unsigned(self, before: Mapping[str, Signer], after: Mapping[str, Signer]) -> None:
        """Errors: `rotation_refused`."""
        was, will = self._answers(before, self.now), self._answers(after, self.now)
        for question, found in was.items():
            then = will[question]
            if isinstance(found, Signer) and not isinstance(then, Signer):
                whose = " ".join(filter(None, question)) or "calls of nobody in particular"
                raise failure("rotation_refused", f"{found.name} signs now ({whose}), and nothing would: {': '.join(then)}")

    # --- Away -------------------------------------------------------------------------------------------------------

    def retire(self, names: tuple[str, ...] = ()) -> list[Step]:
        """Take away what is due of pairs that we installed, and of others if they are named.

        Errors: `file_unreadable`, `file_unwritable`.
        """
        steps: list[Step] = []
        signers = self.loaded().signers
        for name in [*signers, *(name for name in self.memory.pairs if name not in signers)]:
            if names and name not in names:
                continue
            if name not in signers:
                steps += self._resume(name)
                continue
            due = self.due(signers, name)
            if due is None or self.now < due[0]:
                self.memory.of(name).retiring = 0  # what was begun would be wrong by now
            if due is None:
                continue
            if self.now < due[0]:
                steps.append(Step(name, "retire", "waits", due[0], due[1]))
            elif name in names or self._ours(name):
                if words := self._needed(signers, name):
                    steps.append(Step(name, "retire", "waits", 0, words))
                    continue
                steps += self._away(name)
                signers = self.loaded().signers
            else:
                words = f"{due[1]}; not installed by us: `shakenctl publish retire {name}`"
                steps.append(Step(name, "retire", "waits", 0, words))
        self.memory.save()
        return steps

    def due(self, signers: Mapping[str, Signer], name: str) -> tuple[float, str] | None:
        """From when on a pair may go, and why. None if it may not: it signs, or is the youngest of its provider, or calls would
        be signed otherwise without it.
        """
        signer, signing, times = signers[name], self._signing(signers), self.memory.of(name)
        times.ended = (times.ended or self.now) if signer.not_after <= self.now else 0
        if name == max((each for each in signers.values() if _same(each, signer)), key=self._age).name:
            return None
        without = {key: value for key, value in signers.items() if key != name}
        if _named(self._answers(signers, self.now)) != _named(self._answers(without, self.now)):
            return None
        by = next((each.name for each in signing.values() if _same(each, signer) and self._taken_over(each.name)), "")
        times.replaced = (times.replaced or self.now) if by else 0
        reasons = [(times.replaced, f"{by} signs instead")] if by else []
        if times.ended:
            # A clock that was wrong for a moment ends nothing
            reasons.append((max(signer.not_after, times.ended), f"its certificate ended {moment(signer.not_after)}"))
        if not reasons:
            return None
        since, why = min(reasons)
        return since + self._rules.keep_hours * _HOUR, why

    def stays(self, name: str) -> str:
        """Why a pair is not taken away though somebody wants that. Errors: `file_unreadable`."""
        signers = self.loaded().signers
        if name not in signers:
            return f"it is not in certificate_dir; one that was never installed goes with `shakenctl acme forget {name}`"
        signer, signing = signers[name], self._signing(signers)
        if name in signing:
            return "calls are signed with it"
        if name == max((each for each in signers.values() if _same(each, signer)), key=self._age).name:
            return "it is the youngest of its provider"
        due = self.due(signers, name)
        if due is None:
            return "nothing was seen to sign instead, and its certificate has not ended"
        if self.now < due[0]:
            return f"its chain stays published until {moment(due[0])}, for calls on their way: {due[1]}"
        return self._needed(signers, name)

    def _needed(self, signers: Mapping[str, Signer], name: str) -> str:
        """Why Kamailio needs this pair though by the files it signs nothing; empty if it does not, or none is there."""
        try:
            found = self.server.in_use()
        except StirError:
            return ""
        if found.epoch is not None and name not in found.pairs:
            return ""
        instead = (each for each in self._signing(signers).values() if _same(each, signers[name]))
        unused = ", ".join(sorted(each.name for each in instead if found.pairs.get(each.name) != in_use.mark(each)))
        return f"Kamailio does not use {unused} yet, by what it says; {_RELOAD}" if unused else ""

    def _taken_over(self, name: str) -> bool:
        """Whether the server knows of this pair, as far as we know: of one that is not ours somebody saw to it."""
        return bool(self.memory.of(name).reloaded) or not self._ours(name)

    def _ours(self, name: str) -> bool:
        return bool(self.memory.of(name).installed) or any(pair.state == "installed" for pair in self._kept(name))

    def _kept(self, name: str) -> list[Pending]:
        """What provider_state_dir has of the pair that is NAME in certificate_dir."""
        return [pair for pair in pairs.pending(self._state_dir) if self._place_name(pair) == name]

    def _place_name(self, pair: Pending) -> str:
        try:
            return self.place(pair).name
        except StirError:
            return pair.name

    def _age(self, signer: Signer) -> tuple[float, int, str]:
        """As `choice` has it."""
        return max(signer.not_before, self.settings.sign_from.get(signer.name, 0)), signer.not_before, signer.name

    def _resume(self, name: str) -> list[Step]:
        """What was begun is ended."""
        return self._away(name) if self.memory.of(name).retiring else []

    def _away(self, name: str) -> list[Step]:
        """Out of certificate_dir; when Kamailio lets go of it, out of publication_dir and provider_state_dir as well."""
        times = self.memory.of(name)
        again = bool(times.retiring)
        times.retiring = times.retiring or self.now
        self.memory.save()
        published = self._rules.directory / f"{name}.pem" if self._rules.directory else None
        retired = self._state_dir / _RETIRED
        chain = self._chain(self._directory / f"{name}.pem", published, installation.kept(retired, name))
        if chain:
            installation.keep(retired, name, chain)
        installation.withdraw(self._directory, name)
        reload = self._reload(name, name)
        # A server that was not told may have it in use; with a certificate that has ended it signs nothing
        if reload.state != "done" and not self._ended(chain):
            reload = _in_earnest(reload) if again else reload
            return [reload, Step(name, "retire", "waits", 0, "its chain stays published until Kamailio has let go of it")]
        if published is not None:
            installation.remove(published)
        self._remove_pairs(chain)
        self.memory.forget(name)
        self.memory.save()
        words = f"key and pair are gone, the chain is no longer published; a copy of it is in {retired}"
        return [reload, Step(name, "retire", "done", 0, words)]

    def _remove_pairs(self, chain: bytes) -> None:
        """What waited until it was installed. Another of that name, with another chain or none yet, is none of it."""
        for path in (self._state_dir / _PAIRS).glob("*.pem"):
            if chain and installation.holds(path, chain):
                # The key first, without which there is no pair, and the chain last, by which it is found again
                for end in ("key", "csr", "json", "pem"):
                    installation.remove(path.with_suffix(f".{end}"))

    @staticmethod
    def _chain(*places: Path | None) -> bytes:
        for path in places:
            if path is not None and path.exists():
                return installation.read(path)
        return b""

    def _ended(self, chain: bytes) -> bool:
        try:
            return bool(chain) and parse_chain(chain)[0].not_valid_after_utc.timestamp() < self.now
        except StirError:
            return False

    def forget(self, name: str) -> list[Path]:
        """Take away a pair that is not in certificate_dir, its key included; what of it was published is withdrawn, if nothing
        was ever signed with it. The files that are gone.

        Errors: `pair_unknown`, `rotation_refused` (it is in certificate_dir), `file_unreadable`, `file_unwritable`.
        """
        pair = pairs.find(self._state_dir, name)
        place = self._place_name(pair)
        if (self._directory / f"{place}.key").exists() and self._is_installed(pair):
            raise failure("rotation_refused", f"{name} is in {self._directory}", f"`shakenctl publish retire {name}`")
        gone = []
        published = self._rules.directory / f"{place}.pem" if self._rules.directory else None
        never = not self.memory.of(place).installed and pair.state != "installed"
        chain = b"" if pair.state == "requested" else installation.read(pair.chain_file)
        if never and chain and published is not None and installation.holds(published, chain):
            installation.remove(published)
            gone.append(published)
        if never:
            self.memory.forget(place)
            self.memory.save()
        return [*pairs.forget(self._state_dir, name), *gone]

    # --- How things stand ---------------------------------------------------------------------------------------------

    def standings(self) -> list[Standing]:
        """All pairs, those that wait and those in certificate_dir, by name. Changes nothing. Errors: `file_unreadable`."""
        loaded = self.loaded()
        rows = [self._standing(loaded.signers, name) for name in loaded.signers]
        rows += [
            Standing(name, "refused", None, "", None, one_line(str(why)))
            for name, why in loaded.refused
            if name not in loaded.signers
        ]
        there = {row.name for row in rows}
        rows += [self._standing_pending(pair) for pair in pairs.pending(self._state_dir) if self._place_name(pair) not in there]
        return sorted(rows, key=lambda row: row.name)

    def _standing(self, signers: Mapping[str, Signer], name: str) -> Standing:
        signer, times = signers[name], self.memory.of(name)
        due = self.due(signers, name)
        stage = "installed"
        trouble = ""
        if signer.fingerprint in self._revoked:
            stage, trouble = "revoked", f"it signs, and verifiers refuse its calls; {_RENEW}" * (name in self._signing(signers))
        elif name in self._signing(signers):
            stage = "signs" if self._taken_over(name) else "installed"
        elif signer.not_after <= self.now:
            stage = "ended"
        elif due is not None:
            stage = "replaced"
        next_ = Step(name, "retire", "waits", *due) if due is not None else None
        if self._ours(name) and not times.reloaded:
            next_ = Step(name, "reload", "waits", 0, _RELOAD)
        return Standing(name, stage, signer, signer.x5u, next_, trouble)

    def _standing_pending(self, pair: Pending) -> Standing:
        if pair.state == "requested":
            trouble = pairs.recall(self._state_dir, pair.name).trouble
            return Standing(pair.name, "requested", None, "", None, one_line(trouble))
        if pair.state == "installed":
            return Standing(pair.name, "withdrawn", None, "", None, f"somebody took it out of {self._directory}")
        try:
            signer, place = self.signer(pair), self.place(pair)
            if pair.revoked:
                return Standing(pair.name, "revoked", signer, place.url, None)
            if signer.not_after <= self.now:
                return Standing(pair.name, "ended", signer, place.url, None)
            if younger := self._superseded(pair):
                return Standing(pair.name, "superseded", signer, place.url, None, _never(pair.name, younger))
            times = self.memory.of(place.name)
            directory, chain = self._rules.directory, installation.read(pair.chain_file)
            if directory is not None and not installation.holds(directory / f"{place.name}.pem", chain):
                return Standing(pair.name, "issued", signer, place.url, Step(pair.name, "publish", "waits", 0, ""))
        except StirError as error:
            return Standing(pair.name, pair.state, None, "", None, one_line(str(error)))
        if not times.seen:
            return Standing(pair.name, pair.state, signer, place.url, Step(pair.name, "look", "waits", 0, ""))
        due = times.seen + self._rules.switch_after
        return Standing(pair.name, "published", signer, place.url, Step(pair.name, "switch", "waits", due, ""))


def _never(name: str, younger: str) -> str:
    return f"{younger} is younger and goes on signing: {name} never will; `shakenctl acme forget {name}` takes it away"


def _in_earnest(step: Step) -> Step:
    """What Kamailio was not seen to do, and has had a whole run to do, has failed: a timer's owner hears of it."""
    return step._replace(state="failed") if step.state == "waits" else step


def _same(one: Signer, other: Signer) -> bool:
    return provider(one) == provider(other)


def _named(answers: Mapping[Question, Signer | Refusal]) -> dict[Question, str]:
    return {question: found.name if isinstance(found, Signer) else "" for question, found in answers.items()}
