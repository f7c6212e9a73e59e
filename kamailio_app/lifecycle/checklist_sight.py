"""What of the checklist can be seen on this host: settings, pairs, the STI-PA's list, the call record, the timer.

Reads files and nothing else. What cannot be read is a trouble in words, not an error: the rest is still looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.credentials.credential import TrustAnchors, fitness, validate
from kamailio_app.credentials.trust_list import read_trust_list, signer_url
from kamailio_app.errors import StirError
from kamailio_app.lifecycle.checklist import Note
from kamailio_app.lifecycle.pairs import pending, recall
from kamailio_app.lifecycle.rotation_memory import Memory
from kamailio_app.lifecycle.spc_token import look_at_spc_token
from kamailio_app.runtime import policy_file
from kamailio_app.runtime.certificate_list import wanted
from kamailio_app.runtime.choice import Choices
from kamailio_app.runtime.keystore import FORBIDDEN_MODE, load_signers
from kamailio_app.runtime.provider import ProviderRules
from kamailio_app.runtime.record_line import call_of
from kamailio_app.runtime.record_store import places, whole_lines
from kamailio_app.runtime.settings import Settings
from kamailio_app.runtime.trusted import Trusted
from kamailio_app.sti_as import Signer

TIMER: Final = Path("/etc/systemd/system/timers.target.wants/shakenctl-renew.timer")
_NOWHERE: Final = "https://not-published.invalid/{name}.pem"  # so that pairs can be looked at before public_cert_url is set
_ROOTS: Final = "--fetch asks the STI-PA for its list; a server that runs keeps it"
_MAX_CHAIN: Final = 1 << 20
_MAX_RECORD: Final = 64 << 20  # octets of the record that are searched for one signed call
_MAX_TOKEN: Final = 1 << 16
_SIGNED: Final = b'"result":"signed"'


class PairHere(NamedTuple):
    """A pair with a certificate. `place`: certificate_dir or pairs; `signs`: now; `trouble`: why no verifier takes its chain,
    empty if all is well or nothing is known; `trusted`: it chains to the anchors; `listed`: to one in the STI-PA's list, None
    without a list; `published`: its chain lies in publication_dir, None without one; `seen`: since when strangers get it, 0 if
    that was not looked at. Times in seconds since 1970.
    """

    name: str
    place: str
    spcs: tuple[str, ...]
    not_before: int
    not_after: int
    x5u: str
    chain: bytes
    signs: bool = False
    trouble: str = ""
    trusted: bool = False
    listed: bool | None = None
    published: bool | None = None
    seen: float = 0


class TokenHere(NamedTuple):
    """An SPC token whose file was noted; `trouble` if it is none."""

    file: str
    spcs: tuple[str, ...] = ()
    expires: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Here:
    """This host, at `now`. `troubles`: what could not be looked at. `signed_call`: when the first recorded one was."""

    now: float
    country: str
    provider: ProviderRules
    public_cert_url: str
    record_calls: bool
    pairs: tuple[PairHere, ...] = ()
    requested: tuple[str, ...] = ()  # pairs that wait for their certificate, by name
    tokens: tuple[TokenHere, ...] = ()
    has_list: bool = False
    has_anchors: bool = False
    anchors: TrustAnchors = field(default_factory=lambda: TrustAnchors(()), repr=False)
    signed_call: str = ""
    timer: bool = False
    troubles: tuple[str, ...] = ()

    @property
    def mine(self) -> tuple[PairHere, ...]:
        """The pairs of this provider; without [provider] spc all of them."""
        return tuple(pair for pair in self.pairs if not self.provider.spc or self.provider.spc in pair.spcs)


def look_around(
    known: Settings, country: str, notes: dict[str, Note], now: float, *, fetch: bool = False, timer: Path = TIMER
) -> Here:
    """Everything that the checks look at. `fetch`: the STI-PA is asked for its list, which waits for the network."""
    held = Trusted(known)
    troubles = list(map(str, held.problems.values()))
    listed = _fetched_list(known, now, troubles) if fetch and known.provider.sti_pa.url else None
    if listed is None and held.trust_list is not None:
        listed = held.trust_list.anchors()
    anchors = TrustAnchors(dict.fromkeys((*held.anchors.certificates, *(listed.certificates if listed else ()))))
    issued, requested = _waiting(known, troubles)
    since = Memory.read(known.provider.state_dir, now)
    pairs = tuple(
        _with_trust(pair, anchors, listed, known, now)._replace(seen=since.of(pair.name).seen)
        for pair in (*_pairs(known, now, troubles), *issued)
    )
    if pairs and not len(anchors):
        what = ", ".join(pair.name for pair in pairs)
        troubles.append(f"no roots here to check {what} with, so they prove nothing yet: {_ROOTS}")
    return Here(
        now=now,
        country=country,
        provider=known.provider,
        public_cert_url=known.public_cert_url,
        record_calls=known.record.calls,
        pairs=pairs,
        requested=requested,
        tokens=tuple(_tokens(notes)),
        has_list=listed is not None,
        has_anchors=bool(len(anchors)),
        anchors=anchors,
        signed_call=_signed_call(known, troubles),
        timer=os.path.exists(timer),
        troubles=tuple(troubles),
    )


def secret_trouble(path: Path | None) -> str:
    """Why the file of a secret is none; empty if it is there, or if there is none to be."""
    if path is None:
        return ""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return f"{path}: {error.strerror}"
    return f"{path} is open to others (mode {mode:o})" if mode & FORBIDDEN_MODE else ""


# --- Trust ----------------------------------------------------------------------------------------------------------


def _fetched_list(known: Settings, now: float, troubles: list[str]) -> TrustAnchors | None:
    """The STI-PA's, as it gives it now; nothing is kept of it. None if it does not."""
    from kamailio_app.lifecycle.sti_pa import sti_pa_of  # who does not fetch does not wait for the import

    try:
        with sti_pa_of(known, anonymous=True) as sti_pa:
            text = sti_pa.ca_list()
            url = signer_url(text)
            return read_trust_list(text, sti_pa.certificate(url) if url else b"", sti_pa.anchors, now).anchors()
    except StirError as error:
        troubles.append(f"the STI-PA's list: {error}")
        return None


def _with_trust(pair: PairHere, anchors: TrustAnchors, listed: TrustAnchors | None, known: Settings, now: float) -> PairHere:
    trouble, in_list = pair.trouble, None
    trusted = False
    try:
        if len(anchors):
            validate(pair.chain, anchors, now)
            trusted = True
    except StirError as error:
        trouble = trouble or str(error)
    if listed is not None and trusted:
        try:
            validate(pair.chain, listed, now)
            in_list = True
        except StirError:
            in_list = False
    directory = known.provider.publication.directory
    published = _same(directory / f"{pair.name}.pem", pair.chain) if directory else None
    return pair._replace(trouble=trouble, trusted=trusted, listed=in_list, published=published)


def _same(path: Path, octets: bytes) -> bool:
    try:
        return path.read_bytes() == octets
    except OSError:
        return False


# --- Pairs ----------------------------------------------------------------------------------------------------------


def _pairs(known: Settings, now: float, troubles: list[str]) -> Iterator[PairHere]:
    """Those in certificate_dir. A refused one that cannot be shown is a trouble."""
    loaded = load_signers(known.certificate_dir, known.public_cert_url or _NOWHERE, now)
    choices = Choices(loaded.signers, known.sign_from, known.certificate)
    policy = None
    with suppress(StirError):  # `shakenctl policy` says what is wrong with it
        policy = policy_file.load(known.policy_file) if known.policy_file else None
    questions = {("", ""), *wanted(known.sign_from, policy).questions, ("", known.provider.spc)}
    answers = [choices.look(now, *question) for question in questions]
    current = {answer.name for answer in answers if isinstance(answer, Signer)}
    for name, error in loaded.refused:
        if name not in loaded.signers:
            troubles.append(f"{name}: {error}")
    refused = dict(loaded.refused)
    for name, signer in loaded.signers.items():
        yield PairHere(
            name,
            "certificate_dir",
            signer.spcs,
            signer.not_before,
            signer.not_after,
            signer.x5u if known.public_cert_url else "",
            loaded.pairs[name].chain,
            signs=name in current and bool(known.public_cert_url),
            trouble=str(refused[name]) if name in refused else "",
        )


def _waiting(known: Settings, troubles: list[str]) -> tuple[list[PairHere], tuple[str, ...]]:
    """The pairs that are not in use yet: with a certificate, and without."""
    issued, requested = [], []
    try:
        found = pending(known.provider.state_dir)
    except StirError as error:
        troubles.append(str(error))
        return [], ()
    for pair in found:
        if pair.state == "requested":
            requested.append(pair.name)
        elif pair.state != "installed":
            try:
                with pair.chain_file.open("rb") as file:
                    chain = file.read(_MAX_CHAIN)
                certificate = parse_chain(chain)[0]
                _key, authority = fitness(certificate)
                begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
            except (OSError, StirError, ValueError) as error:
                troubles.append(f"{pair.chain_file}: {error}")
                continue
            # The STI-CA may publish it, and say where
            x5u = recall(known.provider.state_dir, pair.name).x5u or known.public_cert_url.replace("{name}", pair.name)
            times = int(begins.timestamp()), int(ends.timestamp())
            issued.append(PairHere(pair.name, "pairs", authority.spcs, *times, x5u, chain))
    return issued, tuple(requested)


# --- Others ---------------------------------------------------------------------------------------------------------


def _tokens(notes: dict[str, Note]) -> Iterator[TokenHere]:
    """The latest file that was noted of each step that asks for an SPC token."""
    for proof in notes["token"].proofs[-1:] if "token" in notes else ():
        try:
            with Path(proof.file).open("rb") as file:
                token = look_at_spc_token(file.read(_MAX_TOKEN).decode("ascii", "replace"))
        except OSError as error:
            yield TokenHere(proof.file, trouble=str(error.strerror))
        except StirError as error:
            yield TokenHere(proof.file, trouble=str(error))
        else:
            yield TokenHere(proof.file, token.authority.spcs, token.expires)


def _signed_call(known: Settings, troubles: list[str]) -> str:
    """When the first signed call of this provider was that the record has; looked for in its beginning."""
    left = _MAX_RECORD
    try:
        for place in places(known.record.directory):
            descriptor = os.open(place.file(known.record.directory), os.O_RDONLY | os.O_CLOEXEC)
            try:
                end = min(os.fstat(descriptor).st_size, left)
                for _offset, line in whole_lines(descriptor, 0, end):
                    if _SIGNED in line and (call := call_of(line)) and _whose(call.get("spc"), known.provider.spc):
                        return str(call["time"])
            finally:
                os.close(descriptor)
            left -= end
            if left <= 0:
                troubles.append(f"{known.record.directory}: only the first {_MAX_RECORD >> 20} MiB were searched")
                break
    except FileNotFoundError:  # no record yet, or its oldest file has just gone
        return ""
    except OSError as error:
        troubles.append(f"{known.record.directory}: {error.strerror}")
    return ""


def _whose(spcs: object, spc: str) -> bool:
    return not spc or (isinstance(spcs, str) and spc in spcs.split(","))
