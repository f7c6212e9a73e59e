"""The call that nobody makes goes through the service that real calls go through."""

from __future__ import annotations

import re

from kamailio_app.credentials.tnauthlist import TNAuthList
from kamailio_app.doctor.examination import examine
from kamailio_app.doctor.self_call import CALLER, _request
from kamailio_app.lab.pki import ServiceProvider
from kamailio_app.runtime.keystore import load_signers

from .clinic import NOW, X5U, Clinic, hierarchy


def test_attestation_origid_verstat_and_time_are_shown(clinic: Clinic) -> None:
    clinic.set("signing", attest_level="B")
    words = clinic.words("self-call", "sign and verify")
    assert re.fullmatch(
        r"good: sp1234: B [0-9a-f-]{36} TN-Validation-Passed; signed in \d+ us, verified in \d+ us -> ", words
    ), words


def test_without_fetch_nothing_is_fetched(clinic: Clinic) -> None:
    assert [each.check for each in clinic.findings("self-call", fetch=False)] == ["sign and verify"]
    assert clinic.web.asked == []


def test_repository_that_is_down_is_told_by_its_token(clinic: Clinic) -> None:
    clinic.web.answers.clear()
    assert clinic.words("self-call", "as published").startswith("bad: sp1234: x5u_unreachable")


def test_strict_profile_is_the_settings_own(clinic: Clinic) -> None:
    clinic.add("sp1234", hierarchy().service_provider(ServiceProvider(common_name="Odd", not_after=NOW + 80 * 86400)))
    assert clinic.words("self-call", "sign and verify").startswith("good: ")
    clinic.set("verification", certificate_profile="strict")
    assert "credential_profile" in clinic.words("self-call", "sign and verify")


def test_certificate_for_numbers_signs_for_one_of_them(clinic: Clinic) -> None:
    spec = ServiceProvider(tnauthlist=TNAuthList(numbers=("12025550177",)))
    clinic.add("numbers", hierarchy().service_provider(spec))
    signers = load_signers(clinic.certs, X5U, NOW).signers
    assert _request(signers["numbers"]).from_uri == "sip:+12025550177@doctor.invalid;user=phone"
    assert CALLER in _request(signers["sp1234"]).from_uri


def test_nothing_is_written(clinic: Clinic) -> None:
    clinic.write()

    def state() -> dict[str, tuple[float, int]]:
        found = {str(path): path.stat() for path in clinic.directory.rglob("*")}
        return {name: (each.st_mtime, each.st_size) for name, each in found.items()}

    site, before = clinic.site(), state()
    assert examine(site)
    assert state() == before
