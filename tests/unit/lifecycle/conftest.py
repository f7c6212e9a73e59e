"""The laboratory's STI-PA and STI-CA, once for a module."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kamailio_app.lab.pki import Hierarchy
from kamailio_app.lab.sti_ca import LabStiCa
from kamailio_app.lab.sti_pa import LabStiPa

from .acme_office import Office


@pytest.fixture(scope="module")
def laboratory() -> Iterator[tuple[Hierarchy, LabStiCa, LabStiPa]]:
    hierarchy = Hierarchy(time.time())
    tls = hierarchy.web_server(["localhost"])
    with ExitStack() as stack:
        pa = stack.enter_context(LabStiPa(hierarchy, tls))
        ca = LabStiCa(hierarchy, tls, hierarchy.policy_root.certificate, lambda name, _chain: f"https://cr.test/{name}.pem")
        yield hierarchy, stack.enter_context(ca), pa


@pytest.fixture
def acme_office(laboratory: tuple[Hierarchy, LabStiCa, LabStiPa], tmp_path: Path) -> Iterator[Office]:
    hierarchy, ca, pa = laboratory
    known = dict(vars(ca))
    ca.asked.clear()
    yield Office(tmp_path, hierarchy, ca, pa)
    ca.behave()
    pa.behave()
    for name in ("profile", "location", "fingerprint", "seconds", "terms", "mac_keys", "revoked"):
        setattr(ca, name, known[name])
