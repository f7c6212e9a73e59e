"""`shakenctl policy`: what the signing policy does to a call and why, and whether it still does what is expected of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import click

from kamailio_app.cli.output import FINE, NO, Command, emit, failures, json_option, settings_option
from kamailio_app.policy.attestation import Call, CallerIn, Decision
from kamailio_app.policy.masks import NO_NUMBER
from kamailio_app.policy.rules import Policy
from kamailio_app.runtime.policy_trial import Expectation, Trial, Tried, expectations, trial

_FILE = click.Path(path_type=Path)
_OVERLOOKED: Final = "the caller is on the do-not-originate list, and no rule asks for it here: do_not_originate = true"


def _on_a_trial(command: Command) -> Command:
    """The command with everything that a policy is tried with, as parameter `on`; and `--json`."""

    @wraps(command)
    def with_trial(
        *,
        settings: Path,
        policy_file: Path | None,
        inventory_file: Path | None,
        do_not_originate_file: Path | None,
        **parameters: Any,
    ) -> None:
        with failures():
            command(on=trial(settings, policy_file, inventory_file, do_not_originate_file), **parameters)

    for name, text in (
        ("--do-not-originate", "The list of numbers that never call, instead of the settings'."),
        ("--inventory", "The inventory, instead of the settings'."),
        ("--policy", "The policy file, instead of the settings' policy_file."),
    ):
        option = click.option(name, f"{name[2:].replace('-', '_')}_file", type=_FILE, metavar="FILE", help=text)
        with_trial = option(with_trial)
    return settings_option(json_option(with_trial))


@click.group()
def command() -> None:
    """Try the signing policy."""


@command.command()
@click.option("--from", "caller", required=True, metavar="NUMBER", help=f"Who calls: a number, a URI, or {NO_NUMBER}.")
@click.option("--to", "called", required=True, metavar="NUMBER", help="Who is called.")
@click.option("--trunk", default="", help="As the routing script says in $avp(stir_trunk).")
@click.option("--customer", default="", help="As the routing script says in $avp(stir_customer).")
@click.option(
    "--source",
    default="",
    metavar="ADDRESS",
    callback=lambda _context, _option, value: _address(value),
    help="The IP address that the call comes from.",
)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="The port that it comes from.")
@click.option(
    "--transport",
    default="",
    type=click.Choice(["", "udp", "tcp", "tls", "sctp", "ws", "wss"]),
    help="The transport that it comes by.",
)
@click.option("--tls-peer", default="", metavar="NAME", help="The name in the TLS client's certificate.")
@click.option("--identity", is_flag=True, help="The call carries a shaken Identity.")
@click.option("--emergency", is_flag=True, help="It is an emergency call, whatever its number.")
@click.option("--asked", default="", type=click.Choice(["", "A", "B", "C"]), help="As the script says in $avp(stir_attest).")
@click.option(
    "--caller-in",
    "owned",
    type=click.Choice(["own", "other", "none"]),
    help="Whose the number is, instead of what the inventory says.",
)
@click.option("--never-calls/--calls", default=None, help="Instead of what the do-not-originate list says.")
@_on_a_trial
def explain(
    *,
    on: Trial,
    as_json: bool,
    caller: str,
    called: str,
    owned: CallerIn | None,
    never_calls: bool | None,
    **said: Any,
) -> None:
    """What happens to a call, and why: every rule up to the one that decides.

    \b
    Example: shakenctl policy explain --from 12155550121 --to 12155550131 --trunk acme-pbx
    """
    call, wrong = on.call(Call(caller, called, **said))
    if wrong:
        option, text = ("--from", caller) if wrong == "caller" else ("--to", called)
        raise click.BadParameter(f"{text!r} is no number, no URI and not {NO_NUMBER}", param_hint=option)
    tried = on.of(call, owned, never_calls)
    overlooked = never_calls is None and on.overlooked(tried)
    remarks = [*_unknown(said, on.policy), *([_OVERLOOKED] if overlooked else [])]
    emit({**_data(tried), "overlooked": overlooked}, as_json, lambda: _lines(tried, remarks))


@command.command()
@click.argument("file", type=_FILE)
@_on_a_trial
def test(*, on: Trial, as_json: bool, file: Path) -> None:
    """Does the policy do what FILE expects? Exit status 1 if not.

    \b
    Example: shakenctl policy test signing-policy-test.toml
    """
    results = [(expected, *on.disappointment(expected)) for expected in expectations(file, on)]
    wrong = sum(bool(differs) for _expected, differs, _tried in results)
    data = [{"name": expected.name, "differs": differs, **_data(tried)} for expected, differs, tried in results]
    emit(data, as_json, lambda: _report(results, wrong))
    sys.exit(NO if wrong else FINE)


def _address(text: str) -> str:
    """As it is compared with the policy's networks."""
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise click.BadParameter(f"{text!r} is no IP address") from None


def _data(tried: Tried) -> dict[str, Any]:
    decision = tried.decision
    return {
        "call": tried.call._asdict(),
        "caller_in": tried.caller_in,
        "do_not_originate": tried.do_not_originate,
        "steps": [step._asdict() for step in tried.steps],
        "decision": {name: getattr(decision, name) for name in decision.__slots__} | {"attest": tried.attest},
    }


def _unknown(said: dict[str, Any], policy: Policy) -> list[str]:
    """The names that the script is to have said, and that nobody has. Of customers they do not count (decision 60)."""
    known = (("trunk", policy.trunks, ""), ("customer", policy.customers, ": as if nobody were named"))
    return [
        f"there is no [{kind}.{name}]{then}"
        for kind, names, then in known
        if (name := said[kind].strip()) and names and name not in names
    ]


def _lines(tried: Tried, remarks: list[str]) -> Iterator[str]:
    call = tried.call
    where = [
        name if value is True else f"{name} {value}"
        for name, value in call._asdict().items()
        if value and name not in ("caller", "called")
    ]
    yield f"{call.caller or NO_NUMBER} calls {call.called or NO_NUMBER}{''.join(f', {word}' for word in where)}"
    yield from remarks
    yield from (f"rule {step.rule}: {step.why}" for step in tried.steps)
    yield _outcome(tried.decision, tried.attest)


def _outcome(decision: Decision, attest: str) -> str:
    if decision.action == "pass":
        return "goes on unsigned"
    if decision.action == "reject":
        return f"rejected: {decision.code} {decision.phrase}"
    words = [f"signed: {attest}"]
    words += [f"{name} {value}" for name in ("certificate", "spc", "origid") if (value := getattr(decision, name))]
    words += [f"Identity that is there: {decision.identity}"]
    said = ("drop_malformed", "div", "rcd", "rph", "mky", "uri", "base", "p_headers")
    words += [name for name in said if getattr(decision, name)]
    words += [f"if it cannot be signed: {decision.code} {decision.phrase}"] if decision.unsigned == "reject" else []
    return ", ".join(words)


def _report(results: list[tuple[Expectation, str, Tried]], wrong: int) -> Iterator[str]:
    for expected, differs, tried in results:
        if differs:
            yield f"{expected.name}: {differs}"
            yield from (f"  rule {step.rule}: {step.why}" for step in tried.steps)
    yield f"{len(results) - wrong} of {len(results)} calls as expected"
