"""What an edge says of itself at its start and after a reload: what is unsafe, what was refused, and who signs."""

from __future__ import annotations

from collections.abc import Iterator

from kamailio_app.adapters.port import Level, SipPort
from kamailio_app.errors import FAILURES, StirError
from kamailio_app.grammar import one_line
from kamailio_app.runtime.service import Service

_LISTS = {
    "caller_in": ("inventory_file", "every number is nobody's"),
    "do_not_originate": ("do_not_originate_file", "every number may call"),
}


def announce(service: Service, port: SipPort) -> None:
    """Say it in the log. That calls are not signed is said once, by whichever process comes first."""
    for level, text in (*_unsafe(service), *_refused(service), *_lists(service)):
        port.log(level, text)
    anchors = f"{len(service.anchors)} trust anchors"
    for certificate, spc in service.signing.questions():
        try:
            signer = service.signing.signer(certificate, spc)
        except StirError as error:
            if port.once(f"{error.token}:{certificate}:{spc}" if certificate or spc else error.token):
                where = one_line(str(service.settings.certificate_dir))
                port.log("warn", f"calls pass unsigned: {one_line(str(error))} in {where}; {anchors}")
        else:
            port.log(
                "info",
                f"signing with {one_line(signer.name)} spc={','.join(signer.spcs)} x5u={one_line(signer.x5u)} "
                f"fingerprint={signer.fingerprint[:16]}; {anchors}",
            )


def _unsafe(service: Service) -> Iterator[tuple[Level, str]]:
    for relaxed in service.settings.relaxed:
        yield "warn", f"UNSAFE: {relaxed} is on"


def _refused(service: Service) -> Iterator[tuple[Level, str]]:
    keys = service.signing.keys
    for name, error in keys.refused:
        kept = "the former pair stays in use" if name in keys.kept else "not used"
        yield "err", f"pair {one_line(name)} refused: {one_line(str(error))}; {kept}. {FAILURES[error.token].advice}"


def _lists(service: Service) -> Iterator[tuple[Level, str]]:
    """A policy that asks for a list of numbers that there is not."""
    for condition, (option, so) in _LISTS.items():
        if condition in service.signing.policy.uses and getattr(service.settings, option) is None:
            yield "warn", f"the signing policy asks {condition}, and [signing] {option} is not set: {so}"
