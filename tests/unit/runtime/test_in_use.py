"""What a server says of its pairs comes back as it was said, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamailio_app.runtime.in_use import InUse, entries, mark, read
from kamailio_app.runtime.keystore import Pair, make_signer

from ..builders import provider

SIGNER = make_signer("sp1234", Pair(provider().key_pem, provider().chain_pem), "https://cr.example.net/{name}.pem", None)


def said(*names: str, epoch: int = 1_700_000_000) -> dict[str, str]:
    return dict(entries({name: replace(SIGNER, name=name) for name in names}, epoch))


def heard(table: dict[str, str]) -> InUse:
    return read(lambda key: table.get(key, ""))


def test_pair_is_known_by_its_name_and_its_certificate() -> None:
    assert said("sp1234") == {"pairs": f"1700000000 1 sp1234={SIGNER.fingerprint[:16]}"}
    assert heard(said("sp1234")) == InUse(1_700_000_000, {"sp1234": mark(SIGNER)})


@pytest.mark.parametrize("epoch", [0, -1, 1 << 31])
def test_no_pairs_is_not_nothing_said(epoch: int) -> None:
    assert heard(said(epoch=epoch)) == InUse(epoch, {})
    assert heard({}) == InUse(None, {})


def test_many_pairs_are_in_entries_that_kamcmd_can_show_and_the_first_comes_last() -> None:
    names = [f"{'x' * 100}-{number}" for number in range(100)]
    table = said(*names)
    assert len(table) > 10
    assert [*table][-1] == "pairs"
    assert max(map(len, table.values())) < 1100
    assert [*heard(table).pairs] == names


def test_entry_of_another_reload_or_none_is_nothing_said() -> None:
    names = [f"{'x' * 100}-{number}" for number in range(20)]
    table = said(*names)
    assert heard(table | {"pairs": said(*names, epoch=5)["pairs"]}) == InUse()
    assert heard({key: text for key, text in table.items() if key != "pairs:2"}) == InUse()


@given(st.text(max_size=40) | st.from_regex(r"-?[0-9]{1,3} [0-9]{1,8}( [a-z]*=[0-9a-f]{15,17}){0,2}", fullmatch=True))
def test_any_text_is_something_said_or_nothing(text: str) -> None:
    found = heard({"pairs": text})
    assert all(name and len(digits) == 16 for name, digits in found.pairs.items())
