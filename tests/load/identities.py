"""Identity headers made fresh for one run of SIPp, each with an origid and a signature of its own, as an injection file."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kamailio_app.credentials.credential import fitness
from kamailio_app.lab.network import CALLED, CALLER
from kamailio_app.lab.pki import Issued
from kamailio_app.passport.claims import Attestation
from kamailio_app.sip import Request
from kamailio_app.sti_as import Signer, sign

# SIPp's files separate fields by a semicolon, and so does the header its parameters
HEADER: Final = "Identity: [field0];[field1];[field2];[field3]"
_REQUEST: Final = Request("INVITE", f"sip:{CALLED}@x", f"sip:{CALLER}@x", f"sip:{CALLED}@x")


def identities(issued: Issued, urls: Iterable[str]) -> list[str]:
    """One Identity value for each x5u URL, signed now."""
    spcs = fitness(issued.certificate)[1].spcs
    now = time.time()
    values = []
    for url in urls:
        signer = Signer("load", url, 0, 1 << 40, "", spcs, issued.key)
        values.append(sign(_REQUEST, Attestation.FULL, signer, now=now, origid=str(uuid.uuid4())).identity)
    return values


def write(path: Path, values: Iterable[str]) -> None:
    """As SIPp reads it with -inf. Errors: ValueError for a value that would come out of it as another."""
    lines = ["SEQUENTIAL"]
    for value in values:
        if value.count(";") != 3:
            raise ValueError(f"not three parameters: {value}")
        lines.append(f"{value};")
    path.write_text("\n".join(lines) + "\n")
