"""The settings file: what the table of options does not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamailio_app.errors import SettingsRefused
from kamailio_app.runtime.settings import load, parse


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("signing = 1", "signing is a section, write [signing]"),
        ("signing = []", "signing is a section"),
        ('[signing]\npublic_cert_url = "https://cr.example.net/sp.pem"', "public_cert_url: it has no {name}"),
        ('[signing]\npublic_cert_url = "http://cr.example.net/{name}.pem"', "public_cert_url: not https"),
        ('[signing]\npublic_cert_url = "https://{name}/"\n[x5u]\nx5u_ports = [8443]', "public_cert_url: port"),
        ('[signing]\ncertificate = "a\\nb"', "certificate takes no control characters"),
        ("[cache]\nmax_cache_size = 0x" + "f" * 5000, "max_cache_size lies between 1 and 100000, not that"),
        ("[cache]\nmin_cache_lifetime = 100\nmax_cache_lifetime = 99", "min_cache_lifetime exceeds max_cache_lifetime"),
        ('[signing]\ncertificate_dir = "a"\n[publication]\npublication_dir = "b/../a"', "publication_dir is certificate_dir"),
    ],
)
def test_options_that_do_not_go_together_are_refused(text: str, hint: str) -> None:
    path = Path("/etc/kamailio/stirshaken.toml")
    with pytest.raises(SettingsRefused) as caught:
        parse(path, text)
    assert caught.value.token == "option_invalid"
    assert str(path) in caught.value.detail
    assert hint in caught.value.detail


def test_text_of_the_file_is_kept_for_the_other_processes(tmp_path: Path) -> None:
    path = tmp_path / "stirshaken.toml"
    path.write_text("[signing]\nattest_level = 'B' # \u00e9\n", "utf-8")
    settings = load(path)
    assert parse(path, settings.text) == settings
    assert settings.text not in repr(settings)
