"""The checklist asks the STI-PA for its list, in the laboratory: a root that is there, one that is not, and no answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.lab.sti_pa import LabStiPa
from kamailio_app.lifecycle.checklist import Seen, Verdict
from kamailio_app.lifecycle.checklist_checks import looks
from kamailio_app.lifecycle.checklist_sight import Here, look_around
from kamailio_app.lifecycle.checklist_steps import steps_of
from kamailio_app.runtime.settings import parse

from ..builders import evil
from .sti_pa import lab, server


@pytest.fixture(scope="module")
def pa() -> Iterator[LabStiPa]:
    with server() as running:
        yield running


def seen(pa: LabStiPa, directory: Path) -> tuple[Here, list[Seen]]:
    """Of a host that has a certificate, and neither anchors nor a list of its own."""
    (directory / "tls.pem").write_bytes(lab().root.pem)
    (directory / "pa.pem").write_bytes(lab().policy_root.pem)
    lab().service_provider(ServiceProvider("1234")).write(directory / "certs", "sp1234")
    text = (
        f'[provider]\nspc = "1234"\nprovider_state_dir = "state"\n[sti_pa]\nsti_pa_url = "{pa.url}"\n'
        'sti_pa_tls_ca_file = "tls.pem"\n[trust]\nsti_pa_ca_file = "pa.pem"\n'
        '[signing]\ncertificate_dir = "certs"\n[cache]\nstate_dir = "cache"\n[record]\nrecord_dir = "calls"\n'
    )
    here = look_around(parse(directory / "stirshaken.toml", text), "US", {}, time.time(), fetch=True)
    return here, looks(steps_of("US"), {}, here)["certificate"]


def test_root_that_the_sti_pa_lists_verifies_the_certificate(pa: LabStiPa, tmp_path: Path) -> None:
    pa.behave()
    here, (look,) = seen(pa, tmp_path)
    assert (look.verdict, here.troubles) == (Verdict.VERIFIED, ())
    assert look.words.endswith("its root is in the STI-PA's list")
    assert not (tmp_path / "cache").exists()


def test_root_that_the_sti_pa_does_not_list_is_trusted_by_nobody(pa: LabStiPa, tmp_path: Path) -> None:
    pa.behave()
    pa.list_ca(evil().root.certificate)
    pa.unlist_ca(lab().root.certificate)
    try:
        _here, (look,) = seen(pa, tmp_path)
    finally:
        pa.list_ca(lab().root.certificate)
        pa.unlist_ca(evil().root.certificate)
    assert look.verdict is Verdict.CONTRADICTED
    assert "credential_untrusted" in look.words


def test_sti_pa_whose_list_is_no_good_is_a_trouble_and_proves_nothing(pa: LabStiPa, tmp_path: Path) -> None:
    pa.misbehave("list-bad-signature")
    here, (look,) = seen(pa, tmp_path)
    assert look.verdict is Verdict.FITS
    trouble, then = here.troubles
    assert trouble.startswith("the STI-PA's list: trust_list_signature")
    assert then.startswith("no roots here to check")
