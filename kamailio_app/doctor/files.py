"""Settings, and the files that they name: there, readable by Kamailio's user, and by nobody else (decision 6)."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kamailio_app.doctor import edge
from kamailio_app.doctor.finding import Check, Seen, State, bad, count, failed, good, warning
from kamailio_app.doctor.site import Site
from kamailio_app.errors import StirError
from kamailio_app.lifecycle.access import ENTER, READ, WRITE, refusal
from kamailio_app.runtime import policy_file
from kamailio_app.runtime.keystore import FORBIDDEN_MODE
from kamailio_app.runtime.numbers import DO_NOT_ORIGINATE, INVENTORY, Numbers
from kamailio_app.runtime.settings import Settings

AREA: Final = "files"
START: Final = "start"
# What a signing policy may ask for, the option that has it, and its kind
_LISTS: Final = {
    "caller_in": ("inventory_file", INVENTORY),
    "do_not_originate": ("do_not_originate_file", DO_NOT_ORIGINATE),
}


def _settings(site: Site) -> Iterator[Seen]:
    yield from (failed(error) for error in site.mistakes)
    if not site.mistakes:
        yield from _readable(site, site.path)


def _start(site: Site) -> Iterator[Seen]:
    with edge.service(site, edge.Table()) as service:
        anchors = len(service.anchors)
    yield good(f"the service can be made: {count(len(service.keys.signers), 'pair')}, {count(anchors, 'root')}")


def _relaxed(site: Site) -> Iterator[Seen]:
    yield from (warning(f"{option} is on") for option in site.settings.relaxed)
    if not site.settings.relaxed:
        yield good("none is on")


def _named(settings: Settings) -> Iterator[tuple[str, Path | None]]:
    """The files that the servers read, by option."""
    yield "[signing] policy_file", settings.policy_file
    yield "[signing] inventory_file", settings.inventory_file
    yield "[signing] do_not_originate_file", settings.do_not_originate_file
    yield "[verification] ca_file", settings.ca_file
    yield "[trust] sti_pa_ca_file", settings.trust.sti_pa_ca_file
    yield "[trust] trust_list_file", settings.trust.trust_list_file
    yield "[trust] crl_file", settings.trust.crl_file
    yield "[x5u] x5u_tls_ca_file", settings.fetch.tls_ca_file


def _other_files(site: Site) -> Iterator[Seen]:
    seen = [each for option, path in _named(site.settings) if path for each in _readable(site, path, f"{option} ")]
    wrong = [each for each in seen if each.state is not State.GOOD]
    yield from wrong
    if not wrong:
        yield good(f"{count(len(seen), 'file')} readable" if seen else "none is named")


def _readable(site: Site, path: Path, what: str = "", wanted: int = READ) -> Iterator[Seen]:
    try:
        refused = refusal(site.runs_as, path, wanted)
    except PermissionError:
        raise  # it says nothing of the file
    except OSError as error:
        yield bad(f"{what}{path}: {error.strerror}", f"Put the file at {path}, or mend the option.")
    else:
        yield bad(f"{what}{refused}") if refused else good(f"{what}{path}")


def _certificate_dir(site: Site) -> Iterator[Seen]:
    directory = site.settings.certificate_dir
    try:
        mode = stat.S_IMODE(directory.stat().st_mode)
    except PermissionError:
        raise  # it says nothing of the file
    except OSError as error:
        make = f"install -d -m 750 -g {site.runs_as.name} {directory}"
        if site.signs:
            yield bad(f"{directory}: {error.strerror}", make)
        return
    if mode & stat.S_IWOTH:
        yield bad(f"anybody may put certificates into {directory} (mode {mode:o})", f"chmod o-w {directory}")
    else:
        yield from _readable(site, directory, wanted=READ | ENTER)


def _keys(site: Site) -> Iterator[Seen]:
    keys = _named_so(site.settings.certificate_dir, "*.key")
    wrong = [each for path in keys for each in _wrong(site, path, FORBIDDEN_MODE)]
    yield from wrong or [good(f"{count(len(keys), 'private key')}, closed to others")]


def _chains(site: Site) -> Iterator[Seen]:
    """Those that sign, and those that are published: who serves these need not be Kamailio."""
    keys = _named_so(site.settings.certificate_dir, "*.key")
    signing = [path for key in keys if (path := key.with_suffix(".pem")).exists()]  # its absence is the pair's finding
    directory = site.settings.provider.publication.directory
    published = _named_so(directory, "*.pem") if directory else []
    wrong = [each for path in signing for each in _wrong(site, path, stat.S_IWOTH)]
    wrong += [each for path in published for each in _wrong(site, path, stat.S_IWOTH, "644", State.WARNING)]
    yield from wrong
    if not wrong and signing + published:
        yield good(f"{count(len(signing), 'chain')} beside a key, {len(published)} published")


def _named_so(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(directory.glob(pattern))
    except OSError:  # which is the directory's finding
        return []


def _wrong(site: Site, path: Path, forbidden: int, right: str = "640", unreadable: State = State.BAD) -> Iterator[Seen]:
    """Others may do what they must not, or Kamailio's user may not read it."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & forbidden:
            yield bad(f"{path.name} is open to others (mode {mode:o})", f"chmod {right} {path}")
        elif refused := refusal(site.runs_as, path, READ):
            yield Seen(unreadable, refused, f"chgrp {site.runs_as.name} {path} && chmod {right} {path}")
    except FileNotFoundError:  # taken away since it was listed: a rotation is under way
        return


def _directory(site: Site, directory: Path) -> Iterator[Seen]:
    """It is there, or can be made, and Kamailio's user may write to it."""
    fix = f"install -d -m 750 -o {site.runs_as.name} -g {site.runs_as.name} {directory}"
    there = directory
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        if not there.is_dir():
            yield bad(f"{there} is no directory", fix)
            return
        refused = refusal(site.runs_as, there, READ | WRITE | ENTER)
    except PermissionError:
        raise  # it says nothing of the file
    except OSError as error:
        yield bad(f"{directory}: {error.strerror}", fix)
        return
    if refused:
        yield bad(refused if there == directory else f"{directory} is not there, and {refused}", fix)
    else:
        yield good(f"{directory}{'' if there == directory else ' will be made'}")


def _state_dir(site: Site) -> Iterator[Seen]:
    if site.settings.state_dir is None:
        yield warning("state_dir is empty: certificates, trust list and CRL do not outlive a restart", "Set [cache] state_dir.")
    else:
        yield from _directory(site, site.settings.state_dir)


def _record_dir(site: Site) -> Iterator[Seen]:
    if site.settings.record.calls:
        yield from _directory(site, site.settings.record.directory)


def _secrets(site: Site) -> Iterator[Seen]:
    known = site.settings.provider
    paths = (known.sti_pa.password_file, known.sti_ca.eab_key_file, known.sti_ca.account_key_file)
    fine = 0
    for path in paths:
        if path is None:
            continue
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:  # `shakenctl` makes or asks for it when it is needed
            continue
        if mode & FORBIDDEN_MODE:
            yield bad(f"{path} is open to others (mode {mode:o})", f"chmod 600 {path}")
        else:
            fine += 1
    if fine:
        yield good(f"{count(fine, 'file')} closed to others")


def _policy(site: Site) -> Iterator[Seen]:
    settings = site.settings
    if settings.policy_file is None:
        return
    try:
        policy = policy_file.load(settings.policy_file)
    except StirError as error:
        yield failed(error)
        return
    yield good(f"{settings.policy_file}: {count(len(policy.rules), 'rule')}")
    for condition, (option, _kind) in _LISTS.items():
        if condition in policy.uses and getattr(settings, option) is None:
            yield warning(
                f"the policy asks {condition}, and {option} is not set", f"Set [signing] {option}, or ask no {condition}."
            )
    if settings.do_not_originate_file is not None and "do_not_originate" not in policy.uses:
        yield warning(
            "do_not_originate_file is set, and no rule of the policy asks for it: the list does nothing",
            "Put a rule with do_not_originate = true first, as in cfg/SIGNING.md.",
        )


def _numbers(site: Site) -> Iterator[Seen]:
    for option, kind in _LISTS.values():
        path: Path | None = getattr(site.settings, option)
        if path is None:
            continue
        numbers = Numbers(path, kind)
        try:
            numbers.refresh(0.0)
            if numbers.error is not None:
                yield failed(numbers.error)
            elif (about := numbers.about) is None:
                yield warning(f"{path} is not there: the list is empty", "shakenctl numbers import makes it.")
            else:
                yield good(f"{path}: {about.entries} entries")
        finally:
            numbers.close()


CHECKS: Final = (
    Check(
        AREA,
        "settings",
        "The settings file: TOML, known options, values that they take; readable by Kamailio's user.",
        "chgrp kamailio and chmod 640 the settings file.",
        "decision 7",
        _settings,
    ),
    Check(
        AREA,
        START,
        "What every process of the server begins with is made of the settings: roots, policy, lists. Nothing is kept of it.",
        "Mend what is named; no server starts, and none reloads, with it.",
        "decision 7",
        _start,
    ),
    Check(
        AREA,
        "relaxed options",
        "Options that are unsafe outside a laboratory.",
        "Remove the option, or know why it stands there.",
        "ours: what is unsafe is said aloud",
        _relaxed,
    ),
    Check(
        AREA,
        "certificate_dir",
        "The directory of keys and chains: there, readable by Kamailio's user, written by nobody else.",
        "chgrp kamailio and chmod 750 the directory.",
        "decision 6",
        _certificate_dir,
    ),
    Check(
        AREA,
        "private keys",
        "Mode and owner of each NAME.key: Kamailio's user reads it, others do not.",
        "chgrp kamailio and chmod 640 the key.",
        "decision 6",
        _keys,
    ),
    Check(
        AREA,
        "chains",
        "NAME.pem beside each NAME.key, and what lies in publication_dir: Kamailio's user reads it, others do not write to it.",
        "chgrp kamailio and chmod 640 the chain.",
        "decision 6",
        _chains,
    ),
    Check(
        AREA,
        "named files",
        "Roots, lists and policy that the settings name: there, and readable by Kamailio's user.",
        "chgrp kamailio and chmod 640 the file.",
        "decision 6",
        _other_files,
    ),
    Check(
        AREA,
        "signing policy",
        "policy_file: what it says can be used, and the lists of numbers that it asks for are set, and the other way round.",
        "Mend the policy file; shakenctl policy test tries it.",
        "decision 51",
        _policy,
    ),
    Check(
        AREA,
        "number lists",
        "inventory_file and do_not_originate_file: whole, and of the right kind.",
        "Import it again: shakenctl numbers import.",
        "decision 52",
        _numbers,
    ),
    Check(
        AREA,
        "state_dir",
        "Where certificates, trust list and CRL outlive a restart: Kamailio's user may write there.",
        "chown it to Kamailio's user.",
        "decision 22",
        _state_dir,
    ),
    Check(
        AREA,
        "record_dir",
        "Where the call record lies, if one is kept: Kamailio's user may write there.",
        "chown it to Kamailio's user.",
        "decision 53",
        _record_dir,
    ),
    Check(
        AREA,
        "secrets",
        "Password, MAC key and account key of the way to a certificate: closed to others.",
        "chmod 600 the file.",
        "decision 6",
        _secrets,
    ),
)
