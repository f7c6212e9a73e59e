"""Add the certificate and it signs: no restart, no lost call; a bad pair changes nothing (real Kamailio, both modes)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kamailio_app.lab.network import Network
from kamailio_app.lab.pki import ServiceProvider, expired
from tests.integration.conftest import Site, hasty


def test_certificate_added_while_running_signs_the_next_call_of_every_worker(
    network: Network, tmp_path: Path, cfg: str
) -> None:
    with Site(network, tmp_path, cfg, workers=4) as site:
        assert [site.outbound()[0] for _ in range(6)] == [""] * 6
        assert site.edge.log().count("calls pass unsigned") == 1

        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()

        identities = [site.outbound()[0] for _ in range(24)]
        assert all(f";info=<{network.repository.url('sp1234.pem')}>" in identity for identity in identities)
        assert len(set(identities)) == 24
        assert site.edge.log().count("signing with sp1234") == 1


def test_reload_loses_no_call(network: Network, tmp_path: Path, cfg: str) -> None:
    # Thousands of calls a second: what tm keeps of those that have ended would fill its memory
    with Site(network, tmp_path, hasty(cfg, tmp_path), workers=2) as site:
        certs = site.edge.directory / "certs"
        network.provider.write(certs, "sp1234")
        site.edge.reload()
        stop = threading.Event()

        def keep_reloading() -> None:
            number = 0
            while not stop.wait(0.02):
                number += 1
                network.provider.write(certs, f"sp1234-{number % 3}")
                site.edge.reload()

        reloader = threading.Thread(target=keep_reloading)
        reloader.start()
        try:
            deadline, calls = time.monotonic() + 4, 0
            while time.monotonic() < deadline:
                identity, _ = site.outbound()
                assert identity
                calls += 1
        finally:
            stop.set()
            reloader.join()
        assert calls > 50
        assert site.edge.alive


def _mismatch(network: Network, certs: Path) -> None:
    (certs / "sp1234.key").write_bytes(network.hierarchy.service_provider().key_pem)


def _expired(network: Network, certs: Path) -> None:
    network.hierarchy.service_provider(expired(ServiceProvider(), network.now)).write(certs, "sp1234")


def _wrong_curve(network: Network, certs: Path) -> None:
    network.hierarchy.service_provider(ServiceProvider(curve=ec.SECP384R1())).write(certs, "sp1234")


def _unreadable(network: Network, certs: Path) -> None:
    (certs / "sp1234.key").write_bytes(b"\x00no key")


def _open_to_all(network: Network, certs: Path) -> None:
    (certs / "sp1234.key").chmod(0o644)


@pytest.mark.parametrize(
    ("spoil", "token"),
    [
        (_mismatch, "key_mismatch"),
        (_expired, "certificate_expired"),
        (_wrong_curve, "key_curve_unsupported"),
        (_unreadable, "key_malformed"),
        (_open_to_all, "key_permissions"),
    ],
)
def test_bad_pair_is_refused_with_its_reason_and_the_old_one_stays_in_use(
    network: Network, tmp_path: Path, cfg: str, spoil: Callable[[Network, Path], None], token: str
) -> None:
    with Site(network, tmp_path, cfg, workers=2) as site:
        certs = site.edge.directory / "certs"
        network.provider.write(certs, "sp1234")
        site.edge.reload()
        assert site.outbound()[0]

        spoil(network, certs)
        site.edge.reload()

        assert all(site.outbound()[0] for _ in range(4))
        refusals = [line for line in site.edge.log().splitlines() if "pair sp1234 refused" in line]
        assert len(refusals) == 1
        assert token in refusals[0]
        assert "PRIVATE" not in site.edge.log()


def test_broken_settings_at_reload_leave_everything_as_it_was(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        assert site.outbound()[0]
        site.edge.settings_file.write_text("[signing]\natest_level = 'A'\n")
        site.edge.reload()
        assert site.outbound()[0]
        assert "option_unknown" in site.edge.log()
        assert "did you mean attest_level?" in site.edge.log()


def test_bad_settings_stop_the_start_and_say_why(network: Network, tmp_path: Path, cfg: str) -> None:
    site = Site(network, tmp_path, cfg, settings="[verification]\nmax_iat_agee = 60\n")
    with pytest.raises(RuntimeError, match=r"option_unknown.*max_iat_agee; did you mean max_iat_age\?"), site:
        pass


def test_reload_of_the_script_by_kamailio_itself_changes_nothing(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        network.provider.write(site.edge.directory / "certs", "sp1234")
        site.edge.reload()
        site.edge.rpc("app_python.reload")
        assert all(site.outbound()[0] for _ in range(8))
        assert site.edge.alive


def test_pair_that_was_issued_last_signs(network: Network, tmp_path: Path, cfg: str) -> None:
    with Site(network, tmp_path, cfg) as site:
        certs = site.edge.directory / "certs"
        network.provider.write(certs, "old")
        newer = network.hierarchy.service_provider(replace(ServiceProvider(), not_before=network.now - 60))
        newer.write(certs, "new")
        site.edge.reload()
        assert "/new.pem>" in site.outbound()[0]
