"""The list of the certificates that sign: which signs now, which from when on, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from kamailio_app.policy.rules import Policy
from kamailio_app.runtime.certificates import DAY, MARKS, days_in_words, ending
from kamailio_app.runtime.choice import Choices, moment
from kamailio_app.runtime.keystore import Loaded
from kamailio_app.sti_as import Signer

Question = tuple[str, str]  # certificate, spc; both empty for the calls of nobody in particular
_NOBODY: Final[Question] = ("", "")


class Wanted(NamedTuple):
    """What settings and signing policy ask for. With a `policy` it is no mistake that the other calls are not signed."""

    schedule: Mapping[str, float] = {}
    questions: frozenset[Question] = frozenset()
    policy: bool = False


_NOTHING: Final = Wanted()


def wanted(schedule: Mapping[str, float], policy: Policy | None) -> Wanted:
    """`schedule`: sign_from by name."""
    if policy is None:
        return Wanted(schedule)
    rules = {(rule.decision.certificate, rule.decision.spc) for rule in policy.rules}
    customers = {(customer.certificate, customer.spc) for customer in policy.customers.values()}
    trunks = {(trunk.says.get("certificate", ""), trunk.says.get("spc", "")) for trunk in policy.trunks.values()}
    return Wanted(schedule, frozenset((rules | customers | trunks) - {_NOBODY}), policy=True)


@dataclass(frozen=True, slots=True)
class Row:
    """One pair; of one that cannot be used nothing but its name and why. `signs`: now, from when on, if named, or not."""

    name: str
    signer: Signer | None = None
    signs: str = ""
    days_left: float = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateList:
    """All pairs by name, and what is wrong with no pair that is there."""

    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def fine(self) -> bool:
        return not self.problems and not any(row.problems for row in self.rows)


def certificate_list(
    loaded: Loaded, choices: Choices, now: float, asked: Wanted = _NOTHING, warn_days: int | None = None
) -> CertificateList:
    """The pairs at this time. A certificate that nothing follows is a problem from `warn_days` before its end; if that is not
    said, from 30 days before, or in the last third of a shorter life.
    """
    problems: dict[str, list[str]] = {name: [] for name in loaded.signers}
    for name, problem in (*_refused(loaded, choices, now), *_never(choices, asked), *_ending(choices, now, asked, warn_days)):
        problems.setdefault(name, []).append(problem)
    answers = [choices.look(now, *question) for question in (_NOBODY, *asked.questions)]
    current = {answer.name for answer in answers if isinstance(answer, Signer)}
    rows = [
        Row(name, signer, _signs(choices, signer, now, current), (signer.not_after - now) / DAY, tuple(problems[name]))
        if (signer := loaded.signers.get(name))
        else Row(name, problems=tuple(problems[name]))
        for name in sorted(problems)
    ]
    return CertificateList(tuple(rows), tuple(_unanswered(choices, now, asked)))


def _refused(loaded: Loaded, choices: Choices, now: float) -> Iterator[tuple[str, str]]:
    for name, error in loaded.refused:
        signer = loaded.signers.get(name)
        # One that has ended and was followed by another lies there and does no harm
        if signer is None or error.token != "certificate_expired" or not _followed(choices, signer, now):
            yield name, str(error)


def _followed(choices: Choices, signer: Signer, now: float) -> bool:
    return bool(signer.spcs) and isinstance(choices.look(now, spc=signer.spcs[0]), Signer)


def _never(choices: Choices, asked: Wanted) -> Iterator[tuple[str, str]]:
    for name in asked.schedule:
        signer = choices.signers.get(name)
        if signer is not None and choices.begins[name] >= signer.not_after:
            yield name, f"sign_from is {moment(choices.begins[name])}, when its time is over"


def _ending(choices: Choices, now: float, asked: Wanted, days: int | None) -> Iterator[tuple[str, str]]:
    named = {certificate for certificate, _ in asked.questions}
    for each in ending(choices, now, (MARKS[0] if days is None else days,), named, exactly=days is not None):
        if each.days and not each.follows and each.name not in choices.shared:
            yield each.name, f"ends in {days_in_words(each.left)}, and nothing follows"


def _signs(choices: Choices, signer: Signer, now: float, current: set[str]) -> str:
    if signer.name in choices.shared:
        return "never"
    if now >= signer.not_after:
        return "no longer"
    if signer.name in current:
        return "now"
    begins = choices.begins[signer.name]
    return f"from {moment(begins)}" if now < begins < signer.not_after else "if named"


def _unanswered(choices: Choices, now: float, asked: Wanted) -> Iterator[str]:
    """What is asked for and not there."""
    for name in sorted(asked.schedule.keys() - choices.signers.keys()):
        yield f"[certificate.{name}] sign_from: there is no such pair"
    for certificate, spc in (_NOBODY, *sorted(asked.questions)):
        answer = choices.look(now, certificate, spc)
        if isinstance(answer, Signer):
            continue
        token, detail = answer
        if (certificate, spc) != _NOBODY:
            yield f"the policy's {f'certificate {certificate}' if certificate else f'spc {spc}'}: {token}: {detail}"
        elif token != "certificate_ambiguous" or not asked.policy:
            yield f"{token}: {detail}"
