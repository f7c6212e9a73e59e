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
