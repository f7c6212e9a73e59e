"""May the user that Kamailio runs as read or write this? By owner, group and mode, as the kernel does it for a file.

Not checked: access control lists and mandatory access control, which mode bits do not show.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

READ: Final = 4
WRITE: Final = 2
ENTER: Final = 1
DEFAULT_USER: Final = "kamailio"


class User(NamedTuple):
    """Whose rights are looked at. `group`: the one that his files have."""

    name: str
    uid: int
    groups: frozenset[int]
    group: int = 0


def user(name: str) -> User | None:
    """By name; None if there is no such user."""
    try:
        return _user(pwd.getpwnam(name))
    except KeyError:
        return None


def user_of(uid: int) -> User:
    """By number, also of one who has no name here."""
    try:
        return _user(pwd.getpwuid(uid))
    except KeyError:
        return User(str(uid), uid, frozenset())


def runs_as(processes: Iterable[int]) -> User | None:
    """Whom a server's processes run as; None if there are none here."""
    try:
        return user_of(max(os.stat(f"/proc/{pid}").st_uid for pid in processes))
    except (OSError, ValueError):
        return None


def _user(entry: pwd.struct_passwd) -> User:
    return User(entry.pw_name, entry.pw_uid, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)), entry.pw_gid)


def refusal(who: User, path: Path, wanted: int) -> str:
    """Why this user may not do to the file what is `wanted` (bits of `READ`, `WRITE`, `ENTER`); empty if he may.

    Errors: OSError if it is not there, or nobody lets us look.
    """
    path = path.resolve()
    for directory in reversed(path.parents):
        if not _may(who, directory.stat(), ENTER):
            return f"{who.name} may not enter {directory}"
    if _may(who, path.stat(), wanted):
        return ""
    return f"{who.name} may not {_verb(wanted)} {path} (mode {stat.S_IMODE(path.stat().st_mode):o})"


def _may(who: User, found: os.stat_result, wanted: int) -> bool:
    if who.uid == 0:
        return True
    shift = 6 if found.st_uid == who.uid else 3 if found.st_gid in who.groups else 0
    return (found.st_mode >> shift) & wanted == wanted


def _verb(wanted: int) -> str:
    return "write to" if wanted & WRITE else "read"
