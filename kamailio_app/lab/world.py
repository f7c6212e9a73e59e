"""A TOOL FOR TESTS AND QA: a small world of STIR/SHAKEN on loopback. STI-PA, STI-CA and STI-CR, and a provider who has an
account at each and no certificate yet.

Its keys are thrown away, its passwords are written down, and it can be told to misbehave. Nobody outside of it trusts what it
signs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from kamailio_app.credentials.certificate import parse_chain
from kamailio_app.errors import StirError
from kamailio_app.lab import sti_ca, sti_pa
from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.repository import Answer, Repository
from kamailio_app.lab.sti_ca import LabStiCa
from kamailio_app.lab.sti_pa import LabStiPa

SPC: Final = "1234"
SETTINGS: Final = "stirshaken.toml"
CERTIFICATE_DIR: Final = "certificates"
_SECRETS: Final = "secrets"
_ANY_PORTS: Final = (0, 0, 0)

# What the repository does instead of serving a chain
CR_FAULTS: Final[Mapping[str, tuple[str, Answer]]] = {
    "missing": ("every chain is 404", Answer(404, b"")),
    "500": ("every answer is 500", Answer(500, b"")),
    "slow": ("answers come after 5 seconds", Answer(delay=5.0, body=b"")),
    "redirect": ("answers lead elsewhere", Answer(302, b"", {"Location": "https://localhost/"})),
    "garbage": ("what is served is no certificate", Answer(body=b"<html>moved</html>")),
    "oversized": ("bodies have no end", Answer(endless="body")),
    "reset": ("connections are broken off inside the body", Answer(body=b"-----BEGIN CERTIFICATE-----", reset=10)),
}


class World:
    """Use as a context manager: the servers run inside, and `directory` has the provider's settings and secrets.

    `ports`: of STI-PA, STI-CA and STI-CR. 0: any that is free.
    """

    def __init__(
        self, directory: Path, *, host: str = "127.0.0.1", name: str = "localhost", ports: Sequence[int] = _ANY_PORTS
    ) -> None:
        self.directory = directory
        self.published = directory / "sti-cr"
        self.published.mkdir(parents=True, exist_ok=True)
        self.hierarchy = Hierarchy(time.time())
        tls = self.hierarchy.web_server([name])
        self.sti_pa = LabStiPa(self.hierarchy, tls, host, ports[0], name)
        policy_root = self.hierarchy.policy_root.certificate
        self.sti_ca = LabStiCa(
            self.hierarchy, tls, policy_root, _nowhere, host, ports[1], name, revoked=self.sti_pa.revoke, location=""
        )
        # Another STI-CA, so that the list is one also without ours
        self.sti_pa.list_ca(Hierarchy(self.hierarchy.now, "Other Lab").root.certificate)
        self.sti_cr = Repository(directory / "sti-cr-tls", tls, host, ports[2], name)
        self.sti_cr.served = self.published
        self._stack = ExitStack()

    def __enter__(self) -> World:
        try:
            for server in (self.sti_pa, self.sti_ca, self.sti_cr):
                self._stack.enter_context(server)
            self._write()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def ports(self) -> tuple[int, ...]:
        return self.sti_pa.port, self.sti_ca.port, self.sti_cr.port

    @property
    def settings_file(self) -> Path:
        return self.directory / SETTINGS

    # --- What it can be told ------------------------------------------------------------------------------------

    def tell(self, words: list[str]) -> str:
        """Do what the words say: what has been done, in words. Errors: ValueError says what can be said."""
        verb, *names = words or [""]
        known = _VERBS.get(verb)
        if known is None or (known.takes and not names) or (names and not known.takes):
            raise ValueError("say one of: " + "; ".join(f"{name}{known.takes}" for name, known in _VERBS.items()))
        return known.do(self, names)

    def _misbehave(self, faults: list[str]) -> str:
        for fault in faults:
            server, _, name = fault.partition(":")
            if name not in FAULTS.get(server, {}):
                raise ValueError(f"no such fault: {fault}; `shakenctl lab faults` lists them")
        for fault in faults:
            server, _, name = fault.partition(":")
            if server == "sti-cr":
                self.sti_cr.everywhere = CR_FAULTS[name][1]
            else:
                (self.sti_pa if server == "sti-pa" else self.sti_ca).misbehave(name)
        return f"misbehaves: {', '.join(faults)}"

    def _behave(self, _names: list[str]) -> str:
        self.sti_pa.behave()
        self.sti_ca.behave()
        self.sti_cr.everywhere = None
        return "behaves"

    def _revoke(self, names: list[str]) -> str:
        for name in names:
            try:
                certificate = parse_chain((self.published / f"{Path(name).name}.pem").read_bytes())[0]
            except (OSError, StirError) as error:
                raise ValueError(f"no chain {name} is published") from error
            self.sti_pa.revoke(certificate)
        return f"revoked: {', '.join(names)}"

    def _unlist(self, _names: list[str]) -> str:
        self.sti_pa.unlist_ca(self.hierarchy.root.certificate)
        return "the STI-CA is in the list no longer"

    def _list(self, _names: list[str]) -> str:
        self.sti_pa.list_ca(self.hierarchy.root.certificate)
        return "the STI-CA is in the list"

    # --- Files --------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Settings, roots and secrets of the provider."""
        (self.directory / CERTIFICATE_DIR).mkdir(exist_ok=True)
        (self.directory / "lab-ca.pem").write_bytes(self.hierarchy.root.pem)
        (self.directory / "sti-pa-root.pem").write_bytes(self.hierarchy.policy_root.pem)
        secrets = self.directory / _SECRETS
        secrets.mkdir(mode=0o700, exist_ok=True)
        (user, account), *_ = self.sti_pa.accounts.items()
        for name, text in (("sti-pa-password", account.password), ("eab-key", sti_ca.MAC_KEY)):
            path = secrets / name
            path.touch(mode=0o600)
            path.write_text(f"{text}\n")
        sections: dict[str, dict[str, object]] = {
            "provider": {
                "provider_name": "Lab Telephone Company",
                "country": "US",
                "spc": SPC,
                "provider_state_dir": "provider",
            },
            "sti_pa": {
                "sti_pa_url": self.sti_pa.url,
                "sti_pa_user": user,
                "sti_pa_password_file": f"{_SECRETS}/sti-pa-password",
                "sti_pa_tls_ca_file": "lab-ca.pem",
            },
            "sti_ca": {
                "acme_directory": self.sti_ca.url,
                "acme_contact": "noc@lab.example.net",
                "eab_key_id": sti_ca.KEY_ID,
                "eab_key_file": f"{_SECRETS}/eab-key",
                "acme_tls_ca_file": "lab-ca.pem",
            },
            "publication": {"publication_dir": "sti-cr", "publication_tls_ca_file": "lab-ca.pem", "switch_after": 0},
            "signing": {
                "certificate_dir": CERTIFICATE_DIR,
                "public_cert_url": self.sti_cr.url("{name}.pem"),
                "attest_level": "A",
            },
            "trust": {
                "trust_list_url": self.sti_pa.list_url,
                "crl_url": self.sti_pa.crl_url,
                "sti_pa_ca_file": "sti-pa-root.pem",
                "trust_refresh_interval": 5,
            },
            "x5u": {
                "x5u_ports": [self.sti_cr.port],
                "x5u_tls_ca_file": "lab-ca.pem",
                "relax_x5u_private_addresses": True,
            },
            "cache": {"state_dir": "state"},
            "record": {"record_calls": True, "record_dir": "calls"},
        }
        lines = ["# Settings of the laboratory's provider: its servers are on this machine, and nobody else trusts them."]
        for section, options in sections.items():
            lines += ["", f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in options.items())]
        beside = self.settings_file.with_suffix(".new")
        beside.write_text("\n".join([*lines, ""]))
        os.replace(beside, self.settings_file)


def _nowhere(_name: str, _chain_pem: bytes) -> str:
    """The provider publishes his chains himself."""
    return ""


class _Verb:
    """Something that a world can be told to do."""

    def __init__(self, do: Callable[[World, list[str]], str], takes: str = "") -> None:
        self.do, self.takes = do, takes


_VERBS: Final = {
    "misbehave": _Verb(World._misbehave, " SERVER:FAULT..."),
    "behave": _Verb(World._behave),
    "revoke": _Verb(World._revoke, " NAME..."),
    "unlist-ca": _Verb(World._unlist),
    "list-ca": _Verb(World._list),
}
FAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "sti-pa": {name: fault.words for name, fault in sti_pa.FAULTS.items()},
    "sti-ca": {name: fault.words for name, fault in sti_ca.FAULTS.items()},
    "sti-cr": {name: words for name, (words, _answer) in CR_FAULTS.items()},
}
