"""A short run of `make fuzz`, and that it sees a product which says too much."""

from __future__ import annotations

import random

import pytest

from kamailio_app import sti_vs
from kamailio_app.errors import StirError
from kamailio_app.passport import es256
from tests.fuzz.__main__ import CALL, fuzz
from tests.fuzz.mutations import Field, seeds
from tests.fuzz.oracle import verdict_of


def test_mutated_headers_get_our_verdicts_and_nothing_else() -> None:
    tokens, wrong = fuzz(random.SystemRandom().randrange(10**9), range(5000))
    assert not wrong, wrong
    assert tokens["valid"] > 100
    assert len(tokens) > 12


def test_seeds_are_what_they_should_be() -> None:
    inputs = frozenset(value.split(";")[0].rpartition(".")[0].strip() for seed in seeds() for value in seed.split(","))
    tokens = [verdict_of(Field(seed, inputs), CALL).token for seed in seeds()]
    assert tokens == ["", "", "", "", "", "", "ppt_unsupported"]


def test_signature_that_is_not_checked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(es256, "verify", lambda *_: True)
    assert "nobody signed it" in fuzz(1, range(5000))[1]


def test_claim_that_is_not_checked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sti_vs, "_check_freshness", lambda *_: None)
    assert "valid, and it says" in fuzz(1, range(20000))[1]


def test_exception_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_text: str) -> None:
        raise KeyError("x")

    monkeypatch.setattr(sti_vs, "parse_identity", broken)
    assert "KeyError" in fuzz(1, range(1))[1]
    assert not issubclass(KeyError, StirError)
