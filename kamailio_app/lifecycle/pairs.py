"""Pairs that are not in use yet: key, request, chain and what is remembered of each, in provider_state_dir/pairs.

NAME.key is there from the first moment and is never lost nor written over; NAME.csr is what the STI-CA was sent; NAME.pem is
there once there is a certificate that fits. What the files say counts; NAME.json remembers the rest, and its loss costs an
order.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError, failure
from kamailio_app.grammar import one_line
from kamailio_app.lifecycle.files import write_new
from kamailio_app.lifecycle.keys import new_key, write_key
from kamailio_app.runtime.disk import hand_over, make_directory, read_state, write_state

State = Literal["requested", "issued", "published", "installed"]

REFUSED: Final = ".refused.pem"

_DIRECTORY: Final = "pairs"
_LOCK: Final = "lock"
# It stands in the x5u URL, and no pair is called ".."
_NAME: Final = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9._\-]{0,127}", re.ASCII)


class Pending(NamedTuple):
    """One pair. `chain_file` is there unless its `state` is "requested"; `revoked`: we had its certificate revoked."""

    name: str
    key_file: Path
    chain_file: Path
    request_file: Path
    state: State
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What is remembered of a pair. Times in seconds since 1970.

    `directory` and `order`: the STI-CA's URLs; `x5u`: where the STI-CA publishes the chain, if it told that; `trouble`: how the
    last of `failures` attempts ended; `not_before`: the next is not made earlier; `by_hand`: a person gets the certificate;
    `revoked`: the fingerprint of a certificate that we had revoked, SHA-256 in hexadecimal.
    """

    state: str = ""
    spc: str = ""
    asked: int = 0
    directory: str = ""
    order: str = ""
    x5u: str = ""
    trouble: str = ""
    failures: int = 0
    not_before: int = 0
    by_hand: bool = False
    revoked: str = ""


def is_name(text: str) -> bool:
    """Whether a pair can be called so."""
    return _NAME.fullmatch(text) is not None and not f"{text}.pem".endswith(REFUSED)


def new_name(spc: str, now: float, taken: Container[str]) -> str:
    """A name for a pair: sp1234-20261129, then sp1234-20261129-2. A new chain has a new x5u URL (RFC 8224 7.3)."""
    first = f"sp{spc}-{time.strftime('%Y%m%d', time.gmtime(now))}"
    name, number = first, 2
    while name in taken:
        name, number = f"{first}-{number}", number + 1
    return name


def pending(state_dir: Path) -> list[Pending]:
    """All of them, by name; a chain or a record without its key is none. Errors: `file_unreadable`."""
    return [_pair(state_dir, name) for name in _names(state_dir, ".key")]


def find(state_dir: Path, name: str) -> Pending:
    """The pair of this name. Errors: `pair_unknown`."""
    if not is_name(name) or not (pair := _pair(state_dir, name)).key_file.exists():
        raise failure("pair_unknown", one_line(name, 100))
    return pair


def place(state_dir: Path, name: str) -> Pending:
    """Where a pair of this name is or would be, its directory made. Errors: `pair_unknown` (no such name can be),
    `file_unwritable`.
    """
    if not is_name(name):
        raise failure("pair_unknown", one_line(name, 100))
    pair = _pair(state_dir, name)
    _make_directory(pair.key_file.parent)
    return pair


def begin(state_dir: Path, name: str) -> Pending:
    """The pair of this name, with a key that is made if there is none yet.

    Errors: those of `place`, `key_exists` (another was faster).
    """
    pair = place(state_dir, name)
    if not pair.key_file.exists():
        write_key(pair.key_file, new_key())
    return pair


def keep_request(pair: Pending, pem: bytes) -> None:
    """In the place of a former one, which the STI-CA has not taken. Errors: `file_unwritable`."""
    _write(pair.request_file, pem.decode("ascii"))


def keep_chain(state_dir: Path, name: str, pem: bytes, x5u: str = "") -> Pending:
    """The chain of a pair that had none: it is issued now. Errors: `pair_unknown`, `file_exists`, `file_unwritable`."""
    pair = find(state_dir, name)
    write_new(pair.chain_file, pem)
    remember(state_dir, name, replace(recall(state_dir, name), state="issued", x5u=x5u, trouble="", failures=0, not_before=0))
    return _pair(state_dir, name)


def mark(state_dir: Path, name: str, state: State) -> Pending:
    """How far it has come, beyond what the files say. Errors: `pair_unknown`, `file_unwritable`."""
    find(state_dir, name)
    remember(state_dir, name, replace(recall(state_dir, name), state=state))
    return _pair(state_dir, name)


def mark_revoked(state_dir: Path, name: str, certificate: x509.Certificate) -> None:
    """Remember that we had it revoked, also of a pair that was put into certificate_dir by hand.

    Errors: `pair_unknown` (no such name can be), `file_unwritable`.
    """
    place(state_dir, name)
    fingerprint = certificate.fingerprint(SHA256()).hex()
    remember(state_dir, name, replace(recall(state_dir, name), revoked=fingerprint))


def revoked(state_dir: Path) -> frozenset[str]:
    """The fingerprints of the certificates that we had revoked, as far as they are remembered. Errors: `file_unreadable`."""
    return frozenset(found for name in _names(state_dir, ".json") if (found := recall(state_dir, name).revoked))


def forget(state_dir: Path, name: str) -> list[Path]:
    """Take a pair away, its key included: the files that are gone. Errors: `pair_unknown`, `file_unwritable`."""
    pair = find(state_dir, name)
    # The key first, without which there is no pair
    ends = (".csr", ".pem", REFUSED, ".json")
    paths = [path for path in (pair.key_file, *(pair.key_file.with_suffix(end) for end in ends)) if path.exists()]
    try:
        for path in paths:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise failure("file_unwritable", f"{error.filename}: {error.strerror}") from error
    return paths


def keep_refused(state_dir: Path, name: str, octets: bytes) -> Path:
    """What came instead of a certificate, for whoever wants to look; in the place of a former one.

    Errors: those of `place`, `file_unwritable`.
    """
    path = place(state_dir, name).key_file.with_suffix(REFUSED)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error
    write_new(path, octets)
    return path


def recall(state_dir: Path, name: str) -> Record:
    """What is remembered of it; of what is lost or was written by others, nothing."""
    try:
        members = json.loads(read_state(state_dir / _DIRECTORY, f"{name}.json") or "{}")
    except (ValueError, RecursionError):
        return Record()
    if not isinstance(members, dict):
        return Record()
    kinds = {each.name: type(each.default) for each in fields(Record)}
    held: dict[str, Any] = {key: value for key, value in members.items() if kinds.get(key) is type(value)}
    return Record(**held)


def remember(state_dir: Path, name: str, record: Record) -> None:
    """Errors: `file_unwritable`."""
    _write(state_dir / _DIRECTORY / f"{name}.json", json.dumps(asdict(record), indent=2))


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """No two at once: the timer and a person would order two certificates. Errors: `state_busy`, `file_unwritable`."""
    _make_directory(state_dir)
    try:
        descriptor = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise failure("file_unwritable", f"{state_dir / _LOCK}: {error.strerror}") from error
    try:
        hand_over(descriptor, state_dir)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise failure("state_busy", str(state_dir)) from None
        yield
    finally:
        os.close(descriptor)


def _pair(state_dir: Path, name: str) -> Pending:
    key, chain, request = (state_dir / _DIRECTORY / f"{name}.{end}" for end in ("key", "pem", "csr"))
    record = recall(state_dir, name)
    return Pending(name, key, chain, request, _state(chain, record.state), _is_revoked(chain, record.revoked))


def _names(state_dir: Path, end: str) -> list[str]:
    try:
        names = sorted(path.stem for path in (state_dir / _DIRECTORY).iterdir() if path.suffix == end)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failure("file_unreadable", f"{state_dir / _DIRECTORY}: {error.strerror}") from error
    return [name for name in names if is_name(name)]


def _is_revoked(chain: Path, fingerprint: str) -> bool:
    """Of another certificate that was a pair of that name, nothing is said."""
    if not fingerprint:
        return False
    try:
        return parse_chain(chain.read_bytes())[0].fingerprint(SHA256()).hex() == fingerprint
    except (OSError, StirError):
        return False


def _state(chain: Path, remembered: str) -> State:
    if not chain.exists():
        return "requested"
    match remembered:
        case "published" | "installed":
            return remembered
    return "issued"


def _make_directory(directory: Path) -> None:
    try:
        make_directory(directory, 0o700)
    except OSError as error:
        raise failure("file_unwritable", f"{directory}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        write_state(path.parent, path.name, text)
    except OSError as error:
        raise failure("file_unwritable", f"{path}: {error.strerror}") from error
