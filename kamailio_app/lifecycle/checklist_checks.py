"""What is checked of each step here: small looks at `checklist_sight.Here`, by the name that `Step.check` has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Final

from kamailio_app.errors import StirError
from kamailio_app.lifecycle.checklist import NOTHING, Note, Seen, Step, Verdict
from kamailio_app.lifecycle.checklist_notes import proofs_seen
from kamailio_app.lifecycle.checklist_sight import Here, PairHere, secret_trouble
from kamailio_app.policy.countries import COUNTRIES
from kamailio_app.runtime.certificates import DAY, days_in_words
from kamailio_app.runtime.choice import moment
from kamailio_app.runtime.settings import Settings

Look = Callable[[Here, Note, Mapping[str, Note]], Iterator[Seen]]
_SPC_STEPS: Final = ("ocn", "spc")  # where the code is noted, depending on the country


def looks(steps: Sequence[Step], notes: Mapping[str, Note], here: Here) -> dict[str, list[Seen]]:
    """All looks, by step."""
    return {step.id: list(_looks_at(step, notes, here)) for step in steps}


def _looks_at(step: Step, notes: Mapping[str, Note], here: Here) -> Iterator[Seen]:
    note = notes.get(step.id, NOTHING)
    if step.check:
        yield from CHECKS[step.check](here, note, notes)
    yield from proofs_seen(note)


def _entity(here: Here, note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    name = note.values.get("name", "")
    if not here.provider.name:
        yield Seen(Verdict.UNKNOWN, "[provider] provider_name is empty; the certificate request takes it from there")
    elif not name:
        yield Seen(Verdict.FITS, f"[provider] provider_name is {here.provider.name}")
    elif name != here.provider.name:
        # ATIS-1000080 6.4.1: O is the legal name
        yield Seen(
            Verdict.CONTRADICTED,
            f"{name} is noted, [provider] provider_name is {here.provider.name}",
            f"shakenctl onboard note entity {quote(f'name={here.provider.name}')}, or mend [provider] provider_name",
        )
    else:
        yield Seen(Verdict.FITS, "the name noted is [provider] provider_name")


def _spc(here: Here, note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    """OCN noted, settings and certificates."""
    spc = here.provider.spc
    step, noted = next(((name, note.values[name]) for name in _SPC_STEPS if name in note.values), ("", ""))
    country = COUNTRIES.get(here.country.lower())
    if spc and country and not country.is_spc(spc):
        yield Seen(
            Verdict.CONTRADICTED, f"[provider] spc {spc} is no SPC of {here.country}: {country.spc}", "mend [provider] spc"
        )
    if noted and spc and noted != spc:
        mend = f"shakenctl onboard note {step} {quote(f'{step}={spc}')}, or mend [provider] spc"
        yield Seen(Verdict.CONTRADICTED, f"{noted} is noted, [provider] spc is {spc}", mend)
        return
    if not spc:
        yield Seen(Verdict.UNKNOWN, f"[provider] spc is empty{f'; write spc = {chr(34)}{noted}{chr(34)}' if noted else ''}")
        return
    if noted:
        yield Seen(Verdict.FITS, f"{spc} is noted and in [provider] spc")
    for pair in here.mine:
        if pair.trusted:
            yield Seen(Verdict.VERIFIED, f"{pair.name} is a certificate for {spc}")
            return


def _sti_pa(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    rules = here.provider.sti_pa
    missing = [name for name, value in (("sti_pa_url", rules.url), ("sti_pa_user", rules.user)) if not value]
    if missing:
        yield Seen(Verdict.UNKNOWN, f"[sti_pa] {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set")
    elif trouble := secret_trouble(rules.password_file):
        yield Seen(Verdict.CONTRADICTED, f"[sti_pa] sti_pa_password_file: {trouble}", _secret_again(rules.password_file))
    else:
        yield Seen(Verdict.FITS, "[sti_pa] names the account; shakenctl sti-pa login tries it")
    yield from _by_certificate(here, "could not be had without an account at the STI-PA")


def _sti_ca(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    rules = here.provider.sti_ca
    if not rules.directory:
        yield Seen(Verdict.UNKNOWN, "[sti_ca] acme_directory is not set")
    elif trouble := secret_trouble(rules.eab_key_file):
        yield Seen(Verdict.CONTRADICTED, f"[sti_ca] eab_key_file: {trouble}", _secret_again(rules.eab_key_file))
    else:
        yield Seen(Verdict.FITS, f"[sti_ca] names {rules.directory}")
    for pair in here.mine:
        if pair.listed is False:
            yield Seen(
                Verdict.CONTRADICTED, f"the root of {pair.name} is not in the STI-PA's list: this STI-CA is not approved"
            )
    yield from _by_certificate(here, "comes from it")


def _secret_again(path: Path | None) -> str:
    return f"write the secret into {path}, then chmod 600 {path}"


def _by_certificate(here: Here, words: str) -> Iterator[Seen]:
    """A certificate is the proof of what it cannot be had without, if others trust it."""
    pair = next((pair for pair in here.mine if pair.trusted and pair.listed is not False), None)
    if pair is not None and here.provider.spc:
        yield Seen(Verdict.VERIFIED, f"{pair.name} {words}")


def _token(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    spc = here.provider.spc
    for token in here.tokens:
        if token.trouble:
            yield Seen(Verdict.UNKNOWN, f"{token.file}: {token.trouble}")
        elif spc and spc not in token.spcs:
            yield Seen(
                Verdict.CONTRADICTED, f"{token.file} is for {', '.join(token.spcs) or 'numbers'}, [provider] spc is {spc}"
            )
        elif here.now >= token.expires:
            # It lives shortly, and the order asks for another
            yield Seen(Verdict.UNKNOWN, f"{token.file} ended {moment(token.expires)}")
        else:
            yield Seen(
                Verdict.FITS, f"{token.file} is for {', '.join(token.spcs)}, until {moment(token.expires)}; not verified"
            )
    yield from _by_certificate(here, "could not be had without a token")


def _certificate(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    spc = here.provider.spc
    mine = here.mine
    for pair in here.pairs:
        if pair not in mine and pair.place == "pairs":
            # What was ordered here was ordered for this provider
            yield Seen(Verdict.CONTRADICTED, f"the TNAuthList of {pair.name} is {_whose(pair)}, [provider] spc is {spc}")
    if here.pairs and not mine and not any(pair.place == "pairs" for pair in here.pairs):
        others = ", ".join(f"{pair.name} is {_whose(pair)}'s" for pair in here.pairs)
        yield Seen(Verdict.CONTRADICTED, f"no certificate is for [provider] spc {spc}: {others}")
    good = [pair for pair in mine if not pair.trouble]
    early = [pair for pair in mine if pair.not_before > here.now]
    yield from (Seen(Verdict.UNKNOWN, f"{pair.name} begins {moment(pair.not_before)}") for pair in early)
    if not good and not early:
        yield from (Seen(Verdict.CONTRADICTED, f"{pair.name}: {pair.trouble}") for pair in mine)
    for pair in good:
        if pair.listed is False:
            yield Seen(Verdict.CONTRADICTED, f"the root of {pair.name} is not in the STI-PA's list")
        elif pair.trusted:
            left = days_in_words((pair.not_after - here.now) / DAY)
            ground = "in the STI-PA's list" if pair.listed else "of the anchors; the STI-PA's list is not here"
            yield Seen(Verdict.VERIFIED, f"{pair.name} is {_whose(pair)}'s, ends in {left}, its root is {ground}")
        else:
            yield Seen(
                Verdict.FITS, f"{pair.name} is {_whose(pair)}'s; no roots here to check it with; --fetch asks the STI-PA"
            )
    yield from (Seen(Verdict.UNKNOWN, f"{name} waits for its certificate") for name in here.requested)


def _publication(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    if not here.public_cert_url:
        yield Seen(Verdict.UNKNOWN, "[signing] public_cert_url is not set: nobody could fetch the chain")
        return
    for pair in here.mine:
        if pair.trouble:
            continue
        if pair.seen:
            yield Seen(Verdict.VERIFIED, f"strangers get {pair.name} since {moment(pair.seen)}")
        elif pair.published:
            yield Seen(Verdict.FITS, f"{pair.name} lies in publication_dir; --fetch looks at {pair.x5u}")
        elif pair.published is False and pair.signs:
            yield Seen(Verdict.CONTRADICTED, f"{pair.name} signs, and publication_dir has not its chain")
        else:
            yield Seen(Verdict.UNKNOWN, f"{pair.name}: --fetch looks at {pair.x5u}")


def published(here: Here, known: Settings) -> Iterator[Seen]:
    """What strangers get where the chains are published: this waits for the network."""
    from kamailio_app.lifecycle.publication import check  # nobody else waits for the import of aiohttp

    for pair in here.mine:
        if not pair.x5u or pair.trouble:
            continue
        try:
            seen = check(known, pair.x5u, pair.chain, now=here.now)
        except StirError as error:
            yield Seen(Verdict.UNKNOWN, f"{pair.name} at {pair.x5u}: {error}")
            continue
        if seen.ok:
            yield Seen(Verdict.VERIFIED, f"strangers get {pair.name} at {pair.x5u}")
            continue
        bad = "; ".join(f"{finding.check}: {finding.words}" for finding in seen.findings if not finding.ok)
        yield Seen(Verdict.CONTRADICTED if pair.signs else Verdict.UNKNOWN, f"{pair.name} at {pair.x5u}: {bad}")


def _install(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    if not here.public_cert_url:
        yield Seen(Verdict.UNKNOWN, "[signing] public_cert_url is not set: nothing is signed")
        return
    signing = [pair for pair in here.mine if pair.signs]
    if signing and here.provider.spc:
        yield from (Seen(Verdict.VERIFIED, f"{pair.name} signs now") for pair in signing)
    elif any(pair.place == "certificate_dir" and pair.not_before <= here.now for pair in here.mine):
        yield Seen(Verdict.CONTRADICTED, "pairs are there, and none signs now: shakenctl certificates list says why")


def _first_call(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    if here.signed_call:
        yield Seen(Verdict.VERIFIED, f"the record has a signed call of {here.signed_call}")
    elif not here.record_calls:
        yield Seen(Verdict.UNKNOWN, "[record] record_calls is off: no call is recorded")
    else:
        yield Seen(Verdict.UNKNOWN, "the record has no signed call yet")


def _renewal(here: Here, _note: Note, _notes: Mapping[str, Note]) -> Iterator[Seen]:
    if here.timer:
        yield Seen(Verdict.VERIFIED, "systemd starts shakenctl-renew.timer")
    else:
        yield Seen(Verdict.UNKNOWN, "shakenctl-renew.timer is not enabled on this host")


def _whose(pair: PairHere) -> str:
    return ", ".join(pair.spcs) or "of numbers alone"


CHECKS: Final[Mapping[str, Look]] = MappingProxyType(
    {
        "entity": _entity,
        "spc": _spc,
        "sti_pa": _sti_pa,
        "sti_ca": _sti_ca,
        "token": _token,
        "certificate": _certificate,
        "publication": _publication,
        "install": _install,
        "first_call": _first_call,
        "renewal": _renewal,
    }
)
