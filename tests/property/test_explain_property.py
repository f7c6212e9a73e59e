"""Properties of `explain`: it never says anything else than `sti_vs`; any text ends in an explanation or one of our errors."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from kamailio_app import sti_vs
from kamailio_app.errors import FAILURES, StirError, failure
from kamailio_app.explain.explanation import completed, explain, urls
from kamailio_app.explain.judge import Edge, Found
from kamailio_app.explain.log import read_line
from kamailio_app.explain.message import Message, read_message
from kamailio_app.explain.recognise import Kind, identity_values, recognise
from kamailio_app.explain.report import Clock, call_data, call_lines
from kamailio_app.policy.codes import MAN
from kamailio_app.policy.treatment import treatment
from kamailio_app.runtime.settings import parse
from kamailio_app.sip import Request
from kamailio_app.tn import NumberPlan
from tests.fuzz.mutations import mutated
from tests.unit.builders import DATE, DAY, NOW, X5U, anchors, provider, request
from tests.unit.explain.support import message

from .support import PROPERTY

SETTINGS = parse(Path("/nowhere/stirshaken.toml"), '[verification]\nrph_signers = ["1234"]\nignore_sip_date_header = false')
LENIENT = parse(Path("/nowhere/stirshaken.toml"), '[verification]\nrph_signers = ["1234"]')
LONGEST = 2.0  # seconds for one message: a bound for what would hang, not a measurement
PLAN = NumberPlan("1", "1", "011", 10)


def find(url: str) -> Found:
    """The signer's chain, and nothing else."""
    return Found(provider().chain_pem, words="x") if url == X5U else Found(error=failure("x5u_unreachable"), words="x")


STRICT_DATE, EDGE = (Edge(known, anchors(), None, find) for known in (SETTINGS, LENIENT))


class Circumstances(NamedTuple):
    """What else decides."""

    edge: Edge
    strict: bool
    date: str | None
    priorities: tuple[str, ...]
    now: int


circumstances = st.builds(
    Circumstances,
    st.sampled_from([STRICT_DATE, EDGE]),
    st.booleans(),
    st.sampled_from([None, DATE, "junk"]),
    st.sampled_from([(), ("ets.0",)]),
    st.sampled_from([NOW, NOW, NOW, NOW + 70, NOW - 70, NOW + 2 * DAY]),
)


@PROPERTY
@given(seed=st.integers(0, 1 << 40), many=st.integers(1, 3), also=circumstances)
def test_explanation_never_disagrees_with_the_edge(seed: int, many: int, also: Circumstances) -> None:
    chance, known, now = random.Random(seed), also.edge.settings, also.now
    identities = tuple(mutated(chance).text for _ in range(many))
    call = request(identity=identities, date=also.date, resource_priority=also.priorities)
    treated = replace(known.treatment, codes=MAN) if also.strict else known.treatment
    began = time.perf_counter()
    told = explain(call, also.edge, now, treated)
    assert time.perf_counter() - began < LONGEST
    # As `Service.verify` does it
    rules = replace(known.verification, strict_parameters=also.strict)
    examination = sti_vs.examine(call, rules, now=now)
    credentials = {url: also.edge.judged(url, now).outcome for url in examination.needed}
    verification = sti_vs.conclude(examination, credentials, now=now)
    assert told.token == verification.token
    assert told.treatment == treatment(verification, treated)
    assert len(told.headers) in (0, len(verification.verdicts))
    for header, verdict in zip(told.headers, verification.verdicts, strict=False):
        # The checks by themselves lead to the verdict: none had to be corrected
        first = next((step.token for step in header.steps if step.token), "")
        assert first == (verdict.error.token if verdict.error else "")
        assert all(step.check != "verification" for step in header.steps)
    shown = "\n".join(call_lines(told, Clock(now, "then")))
    assert shown.isascii()
    assert shown.replace("\n", "").isprintable()
    assert call_data(told, Clock(now, "then"))["token"] == told.token


def read_or_refuse(octets: bytes) -> Message | None:
    """None if it was refused as what it is not."""
    try:
        return read_message(octets)
    except StirError as error:
        if error.token != "input_unrecognised":
            raise
        return None


@PROPERTY
@given(
    before=st.text(max_size=40),
    fields=st.lists(st.text(max_size=200) | st.just("Identity: a.b.c;info=<https://x/y>"), max_size=8),
    cut=st.integers(0, 3000),
    eol=st.sampled_from(["\r\n", "\n", ".\n"]),
)
def test_any_message_is_explained_or_refused(before: str, fields: list[str], cut: int, eol: str) -> None:
    octets = (before + "\n" + message(*fields, eol=eol))[:cut].encode("utf-8", "surrogatepass")
    found = read_or_refuse(octets)
    if found is None:
        return
    told = explain(found.request(), EDGE, NOW)
    assert told.token in FAILURES or told.valid


@PROPERTY
@given(octets=st.binary(max_size=600) | st.text(max_size=600).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_octets_are_something(octets: bytes) -> None:
    kind = recognise(octets)
    assert kind in Kind
    text = octets.decode("utf-8", "replace")
    call, assumed = completed(Request("INVITE", "", "", "", identity=identity_values(text)), PLAN)
    assert assumed == {"from", "to"}
    told = explain(call, EDGE, NOW, assumed=assumed)
    assert told.token in FAILURES
    assert urls(call, LENIENT.verification) == ()


@PROPERTY
@given(seed=st.integers(0, 1 << 40))
def test_any_header_alone_is_explained(seed: int) -> None:
    values = identity_values(mutated(random.Random(seed)).text)
    call, assumed = completed(Request("INVITE", "", "", "", identity=values), PLAN)
    told = explain(call, EDGE, NOW, assumed=assumed)
    assert told.token in FAILURES or told.valid


@PROPERTY
@given(text=st.text(max_size=300), token=st.sampled_from(sorted(FAILURES)), ours=st.booleans())
def test_any_line_of_a_log_is_read(text: str, token: str, ours: bool) -> None:
    found = read_line(f"{'stirshaken: verify call-id=x token=' + token + ' us=1: ' if ours else ''}{text}")
    assert not ours or (found is not None and found.token == token)


def test_hostile_texts_take_no_time() -> None:
    """Megabytes of what a pattern could stumble over."""
    began = time.perf_counter()
    texts = ("Identity: " + "a" * 900_000, "INVITE " * 100_000, "a_" * 30_000, "\n" * 500_000, "<" * 900_000, '"' * 900_000)
    for text in (*texts, ("x" * 200 + ".") * 4000, ", " * 300_000, "y:" * 30_000):
        recognise(text[:65536].encode())
        read_line(text)
        identity_values(text[:65536])
        found = read_or_refuse(f"INVITE sip:x SIP/2.0\r\nFrom: {text}\r\nTo: {text[:1000]}\r\n\r\n".encode())
        assert found is None or found.request().method == "INVITE"
    for value in (";" * 16000, "a" * 16000, "." * 16000, "A" * 4000 + "." + "A" * 12000 + ".A;info=<https://x/y>"):
        explain(request(identity=(value,) * 10), EDGE, NOW)
    assert time.perf_counter() - began < 5 * LONGEST
