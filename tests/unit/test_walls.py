"""The walls of the house: which room imports what. Read from the source, so that no run has to come by."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import kamailio_app

PACKAGE = Path(kamailio_app.__file__).parent
NAMES = {
    "kamailio_app" + "".join(f".{part}" for part in path.relative_to(PACKAGE).with_suffix("").parts if part != "__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
OUTSIDE_THE_CORE = {"runtime", "adapters", "lifecycle", "explain", "doctor", "lab", "cli"}
# From the ground up: a room imports its own floor and those below
FLOORS: dict[str, int] = {
    **dict.fromkeys(("", "errors", "sip", "tn", "grammar"), 0),
    **dict.fromkeys(("identity", "passport", "credentials"), 1),
    **dict.fromkeys(("sti_as", "sti_vs", "verdict", "policy"), 2),
    **dict.fromkeys(("runtime",), 3),
    **dict.fromkeys(("adapters", "lifecycle", "explain"), 4),
    **dict.fromkeys(("doctor", "cli", "lab"), 5),
}
GROUND_FLOOR_ARROWS = {"errors": set[str](), "grammar": set[str](), "tn": set[str](), "sip": {"errors", "tn"}}


def room(name: str) -> str:
    """kamailio_app.passport.claims -> passport; the package itself is the empty room."""
    return name.partition(".")[2].partition(".")[0]


CORE = [name for name in NAMES if room(name) not in OUTSIDE_THE_CORE]


def tree(name: str) -> ast.Module:
    return ast.parse(NAMES[name].read_text("utf-8"))


def imports(name: str) -> Iterator[str]:
    """Everything that the module imports, also inside functions, with full names of our own modules."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES or node.module not in NAMES else node.module


def tops(name: str) -> set[str]:
    return {imported.partition(".")[0] for imported in imports(name)}


def importers(top: str) -> set[str]:
    return {name.removeprefix("kamailio_app.") for name in NAMES if top in tops(name)}


def test_every_room_has_its_floor() -> None:
    assert {room(name) for name in NAMES} <= FLOORS.keys()


@pytest.mark.parametrize("name", CORE)
def test_core_imports_nothing_that_waits_reads_or_remembers(name: str) -> None:
    forbidden = {
        "time", "random", "secrets", "uuid", "os", "sys", "io", "socket", "ssl", "logging", "asyncio", "threading",
        "subprocess", "pathlib", "tempfile", "shutil", "http", "urllib3", "requests", "aiohttp", "cachetools", "KSR",
    }  # fmt: skip
    assert tops(name) & forbidden == set()


@pytest.mark.parametrize("name", CORE)
def test_core_reads_no_clock_and_prints_nothing(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert called not in {"now", "utcnow", "today", "localtime", "open", "print", "input", "exec", "eval", "__import__"}
            # These read the clock where they are given no time
            assert called not in {"formatdate", "fromtimestamp"} or node.args


@pytest.mark.parametrize("name", NAMES)
def test_arrows_point_down(name: str) -> None:
    for imported in imports(name):
        if imported in NAMES:
            assert FLOORS[room(imported)] <= FLOORS[room(name)], f"{name} imports {imported}"


@pytest.mark.parametrize(("name", "allowed"), GROUND_FLOOR_ARROWS.items())
def test_arrows_on_the_ground_floor(name: str, allowed: set[str]) -> None:
    assert {room(imported) for imported in imports(f"kamailio_app.{name}") if imported in NAMES} <= allowed


@pytest.mark.parametrize("name", [name for name in NAMES if room(name) in ("passport", "credentials", "identity")])
def test_passport_credentials_and_identity_do_not_know_each_other(name: str) -> None:
    neighbours = {"passport", "credentials", "identity"} - {room(name)}
    assert neighbours & {room(imported) for imported in imports(name) if imported in NAMES} == set()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_imports_the_lab_but_the_command_line(name: str) -> None:
    if room(name) not in ("lab", "cli"):
        assert "lab" not in {room(imported) for imported in imports(name)}


def test_ksr_is_named_in_the_kamailio_adapter_only() -> None:
    naming = {
        name
        for name in NAMES
        for node in ast.walk(tree(name))
        if (isinstance(node, ast.Name) and node.id == "KSR") or (isinstance(node, ast.Attribute) and node.attr == "KSR")
    }
    assert naming | {f"kamailio_app.{name}" for name in importers("KSR")} == {"kamailio_app.adapters.kamailio"}


def test_pyjwt_is_imported_in_one_file_only() -> None:
    assert importers("jwt") == {"passport.es256"}


def test_cryptography_stays_in_its_rooms() -> None:
    # Recorded exceptions: the signer's key has a type; files hold keys and certificates in PEM
    exceptions = {"sti_as", "runtime.keystore", "runtime.service"}
    rooms = {"passport", "credentials", "lab", "lifecycle"}
    assert {name for name in importers("cryptography") if name.partition(".")[0] not in rooms} <= exceptions


def test_signers_key_is_all_that_sti_as_knows_of_cryptography() -> None:
    known = {imported for imported in imports("kamailio_app.sti_as") if imported.startswith("cryptography")}
    assert known == {"cryptography.hazmat.primitives.asymmetric.ec.EllipticCurvePrivateKey"}


def catches_everything(name: str) -> int:
    count = 0
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            everything = [kind for kind in caught if kind is None or getattr(kind, "id", "") in ("Exception", "BaseException")]
            count += bool(everything)
    return count


def test_one_last_resort_in_the_adapters() -> None:
    counts = {name: catches_everything(name) for name in NAMES if room(name) == "adapters"}
    assert sum(counts.values()) == 1, counts
    assert counts["kamailio_app.adapters.kamailio"] == 1


def test_below_the_adapters_only_what_is_expected_is_caught() -> None:
    # credential.py: cryptography raises many types for one malformed certificate
    counts = {name: catches_everything(name) for name in NAMES if FLOORS[room(name)] <= FLOORS["runtime"]}
    assert {name: count for name, count in counts.items() if count} == {"kamailio_app.credentials.credential": 1}


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_is(name: str) -> None:
    assert ast.get_docstring(tree(name))
