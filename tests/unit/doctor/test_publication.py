"""What the doctor sees at an x5u URL is what `shakenctl publish check` sees there."""

from __future__ import annotations

from typing import Any

import pytest

from kamailio_app.lifecycle import publication
from kamailio_app.lifecycle.publication import Seen

from .clinic import NOW, X5U, Clinic, hierarchy, pair


def test_chain_is_looked_at_as_publish_check_does_it(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """As strict as a stranger: our own limits of time, size and redirects are not his."""
    asked: list[dict[str, Any]] = []

    def look(url: str, expected: bytes | None, **options: Any) -> Seen:
        asked.append({"url": url, "expected": expected, **options})
        return Seen(url, True, ())

    monkeypatch.setattr(publication, "look", look)
    clinic.set("x5u", fetch_timeout=9, relax_x5u_private_addresses=True)
    clinic.lists(revoked=[hierarchy().service_provider().certificate])
    site = clinic.site()
    assert site.mistakes == ()
    assert clinic.not_good("publication") == {}
    publication.check(site.settings, X5U.format(name="sp1234"), pair().chain_pem, now=max(site.now, NOW))
    mine, theirs = asked
    for options in asked:
        options["anchors"] = options["anchors"].fingerprints
        options["now"] = int(options["now"])
    assert mine == theirs
    assert mine["fetch"].timeout == publication.STRANGER.timeout
    assert len(mine["revocations"].revoked) == 1


def test_chain_is_validated_with_the_list_that_was_just_fetched(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any server has kept one here."""
    asked: list[int] = []

    def look(url: str, _expected: bytes | None, **options: Any) -> Seen:
        asked.append(len(options["anchors"]))
        return Seen(url, True, ())

    monkeypatch.setattr(publication, "look", look)
    clinic.set("verification", ca_file="")
    for name in ("trust_list", "crl"):
        (clinic.directory / "state" / name).unlink()
    assert clinic.not_good("publication") == {}
    clinic.web.answers.clear()
    clinic.not_good("publication")
    assert asked[0] > 0
    assert asked[1:] == [0]
