"""What the suite does to a running system before a call or while calls run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kamailio_app.lab.edge import Edge
from tests.sipp.suite import target
from tests.sipp.suite.certificates import ANSWERS, CERTIFICATES, Certificates
from tests.sipp.suite.ends import SippError
from tests.sipp.suite.signing_files import SigningFiles
from tests.sipp.suite.strict import known
from tests.sipp.suite.trust_files import TrustFiles

TRUST_FILE: Final = "trusted.pem"
_LOG_SECONDS: Final = 5.0


@dataclass(frozen=True)
class Action:
    """`do` one of `ACTIONS`, with the certificate or profile it is about; `name`: of its files, if not the certificate's;
    `x5u`: what the repository does from now on; `said`: a regular expression for a line of the log. Before a call at once;
    while calls run `at` seconds after the first, and again `every` so many seconds if that is not 0.
    """

    do: str
    certificate: str = "good"
    name: str = ""
    profile: str = "tag"
    x5u: str = "missing"
    said: str = ""
    seconds: float = 0.0
    at: float = 0.0
    every: float = 0.0

    @property
    def stem(self) -> str:
        """Of the files."""
        return self.name or self.certificate

    @staticmethod
    def shorthand(value: object, _where: str) -> dict[str, object]:
        return {"do": value}


@dataclass(frozen=True)
class Operated:
    """The system that is operated. `settings`: the text of a profile's stirshaken.toml."""

    edge: Edge
    certificates: Certificates
    settings: Callable[[str], str]
    trust: TrustFiles
    signing: SigningFiles

    @property
    def scope(self) -> str:
        """What tells it from other systems of the same repository."""
        return f"{self.edge.host}:{self.edge.port}"

    @property
    def trust_file(self) -> Path:
        """The trust anchors of a profile that has a file of its own."""
        return self.edge.directory / TRUST_FILE


def _add(system: Operated, action: Action) -> None:
    system.certificates[action.certificate].write(system.edge.directory / "certs", action.stem)


def _remove(system: Operated, action: Action) -> None:
    for ending in ("key", "pem"):
        (system.edge.directory / "certs" / f"{action.stem}.{ending}").unlink()


def _mismatch(system: Operated, action: Action) -> None:
    """A pair whose key belongs to another certificate."""
    _add(system, action)
    (system.edge.directory / "certs" / f"{action.stem}.key").write_bytes(system.certificates["other-provider"].key_pem)


def _open_key(system: Operated, action: Action) -> None:
    """A good pair whose key everybody may read."""
    _add(system, action)
    (system.edge.directory / "certs" / f"{action.stem}.key").chmod(0o644)


def _lonely_key(system: Operated, action: Action) -> None:
    """A key whose certificate was forgotten."""
    _add(system, action)
    (system.edge.directory / "certs" / f"{action.stem}.pem").unlink()


def _trust(system: Operated, action: Action) -> None:
    with system.trust_file.open("ab") as file:
        file.write(system.certificates.root(action.certificate).pem)


def _distrust(system: Operated, action: Action) -> None:
    anchors = system.trust_file.read_bytes()
    system.trust_file.write_bytes(anchors.replace(system.certificates.root(action.certificate).pem, b""))


def _second_destination(system: Operated, _action: Action) -> None:
    """Each destination once more, so that there is one to turn to when it fails."""
    file = system.edge.directory / "dispatcher.list"
    lines = file.read_text().splitlines()
    again = [re.sub(r"(sip:\S+)", r"\1;transport=udp", line) for line in lines]
    file.write_text("\n".join([*lines, *again]) + "\n")
    system.edge.rpc("dispatcher.reload")


def _settings(system: Operated, action: Action) -> None:
    system.edge.settings_file.write_text(system.settings(action.profile))
    system.signing.write(action.profile)


def _broken_settings(system: Operated, _action: Action) -> None:
    system.edge.settings_file.write_text("[verification\n")


def _restart(system: Operated, _action: Action) -> None:
    system.edge.stop()
    system.edge.start()


def _await(system: Operated, action: Action) -> None:
    await_log(system.edge.log, action.said)


def await_log(log: Callable[[], str], said: str) -> None:
    """Until the log has a line like that. Errors: SippError."""
    deadline = time.monotonic() + _LOG_SECONDS
    while not re.search(said, log()):
        if time.monotonic() > deadline:
            raise SippError(f"the system did not say within {_LOG_SECONDS:.0f} s: {said}")
        time.sleep(0.02)


ACTIONS: Final[dict[str, Callable[[Operated, Action], None]]] = {
    "reload": lambda system, _action: system.edge.reload(),
    "add-certificate": _add,
    "remove-certificate": _remove,
    "add-mismatched-pair": _mismatch,
    "change-settings": _settings,
    "break-settings": _broken_settings,
    "break-policy": lambda system, _action: system.signing.break_policy(),
    "import-numbers": lambda system, action: system.signing.import_numbers(action.profile),
    "break-numbers": lambda system, _action: system.signing.break_numbers(),
    "add-open-key": _open_key,
    "add-lonely-key": _lonely_key,
    "add-trust-anchor": _trust,
    "remove-trust-anchor": _distrust,
    "add-destination": _second_destination,
    "withdraw-certificate": lambda system, action: system.certificates.withdraw(system.scope, action.certificate),
    "publish-certificate": lambda system, action: system.certificates.publish_again(system.scope, action.certificate),
    "misbehave": lambda system, action: system.certificates.misbehave(system.scope, action.certificate, action.x5u),
    "list-ca": lambda system, action: system.trust.list_ca(system.certificates.root(action.certificate).certificate),
    "unlist-ca": lambda system, action: system.trust.unlist_ca(system.certificates.root(action.certificate).certificate),
    "break-trust-list": lambda system, _action: system.trust.break_list(),
    "revoke": lambda system, action: system.trust.revoke(system.certificates[action.certificate].certificate),
    "restart": _restart,
    "await": _await,
    "let-time-pass": lambda _system, action: time.sleep(action.seconds),
}


def check_names(action: Action, where: str) -> None:
    """Errors: ScenarioError."""
    known(action.do, ACTIONS, "action", where)
    known(action.certificate, CERTIFICATES, "certificate", where)
    known(action.profile, target.profiles(), "profile", where)
    known(action.x5u, ANSWERS, "x5u of an answer", where)
