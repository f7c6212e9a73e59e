"""The running Kamailio, asked by its RPC: version, modules, processes, what it has read and what it says of itself."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kamailio_app.doctor.configuration import text_of
from kamailio_app.doctor.finding import Check, NotLookedAt, Seen, bad, count, good, unseen, warning
from kamailio_app.doctor.site import ENABLE_CONTROL, START_OR_NAME, Site
from kamailio_app.errors import FAILURES
from kamailio_app.grammar import one_line, printable
from kamailio_app.runtime.choice import moment

AREA: Final = "server"
_SECONDS: Final = 10.0
_FIRST, _BEFORE = (5, 6), (7,)
_HANGS: Final = ((6, 0, 0),)  # app_python3 stands still: thread state kept in the wrong place, mended in 6.0.1
MODULES: Final = frozenset({"app_python3", "tm", "tmx", "sl", "pv", "textops", "siputils", "htable", "async", "rtimer"})
TABLES: Final = ("stirshaken", *(f"stirshaken_{name}" for name in ("credentials", "fetched", "parked", "seen")))
_WORKER: Final = re.compile(r"(?:udp|tcp|sctp) receiver", re.IGNORECASE)
_UDP_SOCKET: Final = re.compile(r"udp receiver .*sock=(\S+)", re.IGNORECASE)
_KEEPER: Final = "RTIMER EXEC child=0 timer=stirshaken"
_RESUMES: Final = "Async Task Worker - stirshaken"
_FETCHES: Final = b"kamailio_app.runtime.fetch_process"
_THREADS: Final = re.compile(r'modparam\(\s*"app_python3s?"\s*,\s*"threads_mode"\s*,\s*[1-9]')
_KEMI: Final = re.compile(r'^\s*cfgengine\s+"python', re.MULTILINE)
_WORKERS_PER_CORE: Final = 8
_RELOAD: Final = "kamcmd pv.shvSet stirshaken int $(date +%s)"
_EPOCH: Final = re.compile(r"value: (-?[0-9]+)")
_COUNTED: Final = re.compile(r"name: (\w+)(?::([^\n]*))?:(-?[0-9]+)$", re.MULTILINE)
_NAMED: Final = re.compile(r"^\s*name: (\S+)$", re.MULTILINE)
_MEMORY: Final = re.compile(r"^\s*(total|free): ([0-9]+)", re.MULTILINE)
_STARTS_WITHIN, _LOOKS_EVERY = 1.0, 0.1  # seconds
_LITTLE: Final = 0.1  # of shared memory
_SLACK: Final = 1  # second: both numbers are whole ones


def _version(site: Site) -> Iterator[Seen]:
    if site.silence is not None and not site.offline and not site.mistakes:
        # Whoever has settings has, or is to have, a server that reads them
        yield bad(f"no Kamailio answers: {one_line(site.silence.detail)}", START_OR_NAME)
        return
    site.server  # noqa: B018 - says it if there is none
    numbers = tuple(int(number) for number in site.version.split("."))
    if not _FIRST <= numbers < _BEFORE:
        yield bad(f"Kamailio {site.version} is not supported", "Use Kamailio 5.6 to 6.x.")
    elif numbers in _HANGS:
        yield bad(f"Kamailio {site.version}: calls hang in app_python3", "Upgrade to 6.0.1 or later.")
    else:
        yield good(f"Kamailio {site.version}")


def _modules(site: Site) -> Iterator[Seen]:
    missing = MODULES - site.server.modules()
    yield bad(f"not loaded: {', '.join(sorted(missing))}") if missing else good(f"all {len(MODULES)} loaded")


def _threads(site: Site) -> Iterator[Seen]:
    if _THREADS.search(text_of(site.server)):
        yield bad("app_python3's threads_mode is on: workers hang at t_relay")
    else:
        yield good("threads_mode is off")


def _parking(site: Site) -> Iterator[Seen]:
    if "STIRSHAKEN_PARK" in site.server.rpc("core.ppdefines").split():
        yield good("calls are parked while a certificate is fetched")
    elif _KEMI.search(text_of(site.server)):
        yield good("the routing script in Python parks calls")
    else:
        yield warning("a worker waits for each certificate and serves nobody else meanwhile")


def _workers(site: Site) -> Iterator[Seen]:
    processes = site.server.processes().values()
    workers, cores = sum(bool(_WORKER.match(name)) for name in processes), len(os.sched_getaffinity(0))
    sockets = max(1, len({found[1] for name in processes if (found := _UDP_SOCKET.match(name))}))
    words = f"{count(workers, 'worker')} on {count(cores, 'core')}"
    if workers < cores:
        yield warning(f"{words}: signing and verifying cannot use all of them", f"Set children={cores} or more.")
    elif workers > _WORKERS_PER_CORE * cores * sockets:
        yield warning(f"{words}: each has memory and a cache of its own", f"Set children={2 * cores} for each socket.")
    else:
        yield good(words)


def _processes(site: Site) -> Iterator[Seen]:
    processes = site.server.processes()
    names = list(processes.values())
    missing = [
        what for what, name in (("keeper", _KEEPER), ("those that go on with parked calls", _RESUMES)) if name not in names
    ]
    yield from (bad(f"not there: {what}") for what in missing)
    if missing:
        return
    keeper = next(pid for pid, name in processes.items() if name == _KEEPER)
    if not Path(f"/proc/{keeper}").exists():
        yield unseen("its processes are not of this host", "Run the doctor on the host of Kamailio.")
        return
    ends = time.monotonic() + _STARTS_WITHIN
    while not (fetching := [pid for pid in _children(keeper) if _FETCHES in _command_line(pid)]) and time.monotonic() < ends:
        time.sleep(_LOOKS_EVERY)  # the keeper may be starting it
    if not fetching:
        yield bad("the program that fetches certificates does not run", "The log says why: grep 'stirshaken: fetch process'.")
    else:
        yield good(f"keeper {keeper}, program that fetches {fetching[0]}, {names.count(_RESUMES)} that go on with calls")


def _children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                # The fourth field, behind a name that may hold anything
                parent = path.joinpath("stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            except (OSError, IndexError):  # it has ended
                continue
            if parent == str(pid):
                found.append(int(path.name))
    return found


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _tables(site: Site) -> Iterator[Seen]:
    missing = set(TABLES) - {*_NAMED.findall(site.server.rpc("htable.listTables"))}
    yield bad(f"not defined: {', '.join(sorted(missing))}") if missing else good(f"all {len(TABLES)} defined")


def _trust(site: Site) -> Iterator[Seen]:
    """What the program that fetches said last of the STI-PA's lists."""
    rules = site.settings.trust
    for name in ("trust_list", "crl"):
        if not (getattr(rules, f"{name}_url") or getattr(rules, f"{name}_file")):
            continue
        text = one_line(site.server.entry("stirshaken", name), 200)
        if not text:
            yield warning(f"{name}: the server has not said anything of it yet", "Look again in a minute; then see the log.")
        elif error := re.search(r"\berror=(\w+)", text):
            row = FAILURES.get(error[1])
            yield bad(f"{name}: {text}", row.advice if row else "")
        else:
            yield good(f"{name}: {text}")


def _epoch(site: Site) -> int:
    """The number of the last reload. Errors: NotLookedAt, those of `rpc`."""
    found = _EPOCH.search(site.server.rpc("pv.shvGet", "stirshaken"))
    if found is None:
        raise NotLookedAt("there is no shared variable stirshaken", "Include cfg/stirshaken.cfg.")
    return int(found[1])


def _said(site: Site) -> Iterator[Seen]:
    """What it said once since the last reload: a counter for each, in its own table."""
    epoch = _epoch(site)
    told = [
        (token, of)
        for token, of, number in _COUNTED.findall(site.server.rpc("htable.dump", "stirshaken"))
        if number == str(epoch) and token in FAILURES
    ]
    for token, of in told:
        words = f"{token}{f' ({printable(of)})' if of.strip(':') else ''}: {FAILURES[token].meaning}"
        yield bad(words, FAILURES[token].advice) if site.signs else unseen(f"{words} This edge is not to sign.")
    if not told:
        yield good("nothing, since its last reload")


def _reloaded(site: Site) -> Iterator[Seen]:
    epoch, started = _epoch(site), site.now - site.server.uptime()
    if epoch and not started - 2 * _SLACK <= epoch <= site.now + _SLACK:
        raise NotLookedAt(f"the last reload's number, {epoch}, says no time", f"Reload with a time: {_RELOAD}")
    last = max(epoch, started)
    newer = sorted(path.name for path, changed in _changed(site) if changed > last + _SLACK)
    when = f"{'reloaded' if epoch else 'started'} {moment(last)}"
    if newer:
        yield warning(f"{when}; changed since: {', '.join(newer[:8])}{' ...' if newer[8:] else ''}")
    else:
        yield good(f"{when}; no file is newer")


def _changed(site: Site) -> Iterator[tuple[Path, float]]:
    """The files that a reload reads, and when they changed or came."""
    settings = site.settings
    named = (settings.path, settings.policy_file, settings.ca_file, settings.trust.sti_pa_ca_file)
    try:
        pairs = [path for path in settings.certificate_dir.iterdir() if path.suffix in (".key", ".pem")]
    except OSError:
        pairs = []
    for path in (*filter(None, named), *pairs):
        try:
            yield path, path.stat().st_ctime
        except OSError:
            continue


def _transactions(site: Site) -> Iterator[Seen]:
    counted = site.server.transactions()
    yield good(
        f"{counted.get('current', 0)} under way, {counted.get('waiting', 0)} waiting, {counted.get('total', 0)} since its start"
    )


def _memory(site: Site) -> Iterator[Seen]:
    found = {name: int(octets) for name, octets in _MEMORY.findall(site.server.rpc("core.shmmem"))}
    if not found.get("total") or "free" not in found:
        raise NotLookedAt("core.shmmem says something that is not understood")
    share = found["free"] / found["total"]
    words = f"{share:.0%} of {found['total'] >> 20} MB free"
    yield warning(words) if share < _LITTLE else good(words)


CHECKS: Final = tuple(
    Check(AREA, name, about, fix, clause, look, "host", _SECONDS)
    for name, about, fix, clause, look in (
        (
            "version",
            "A Kamailio answers at --control, and it is 5.6 to 6.x.",
            ENABLE_CONTROL,
            "cfg/README.md",
            _version,
        ),
        (
            "modules",
            f"Loaded: {', '.join(sorted(MODULES))}.",
            "apt install kamailio-python3-modules kamailio-extra-modules; include cfg/stirshaken.cfg after your modules.",
            "cfg/README.md",
            _modules,
        ),
        (
            "threads_mode",
            "app_python3 runs without threads_mode, with which workers hang.",
            'Remove modparam("app_python3", "threads_mode", 1) and restart.',
            "Kamailio issues 4153, 4213",
            _threads,
        ),
        (
            "parking",
            "Calls whose certificate is fetched hold no worker.",
            "Define STIRSHAKEN_PARK before the include, and route[STIR_CONTINUE]: cfg/README.md, Verify without waiting.",
            "decision 16",
            _parking,
        ),
        (
            "workers",
            "As many SIP workers as cores, and not many times as many.",
            "Set children.",
            "ours: a call is work for one core",
            _workers,
        ),
        (
            "processes",
            "Ours are there: the keeper, those that go on with parked calls, the program that fetches.",
            "Include cfg/stirshaken.cfg: its rtimer and async lines make them.",
            "decision 21",
            _processes,
        ),
        (
            "shared tables",
            "htable has the tables that all processes share.",
            "Include cfg/stirshaken.cfg: its htable lines make them.",
            "cfg/stirshaken.cfg",
            _tables,
        ),
        (
            "trust",
            "What the server says of the STI-PA's lists (kamcmd htable.get stirshaken trust_list, crl).",
            "See trust: lists now, and the log.",
            "ATIS-1000084",
            _trust,
        ),
        (
            "what it said",
            "What the server says once after a reload: why calls pass unsigned, lists of numbers that cannot be read.",
            "Mend the cause, then reload.",
            "decision 6",
            _said,
        ),
        (
            "last reload",
            "No key, chain, settings, policy or root file is newer than what the server has read.",
            _RELOAD,
            "cfg/README.md",
            _reloaded,
        ),
        ("transactions", "tm answers: calls under way.", "See Kamailio's log.", "Kamailio tm", _transactions),
        (
            "shared memory",
            "A tenth of Kamailio's shared memory is free.",
            "Start Kamailio with more of it (-m), or lower max_shared_certificates.",
            "decision 17",
            _memory,
        ),
    )
)
