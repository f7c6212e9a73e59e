"""The laboratory as a whole: what it writes, what it can be told, from inside and by its socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from kamailio_app.cli.main import main
from kamailio_app.lab.control import Control, ask
from kamailio_app.lab.place import MARKER, Place
from kamailio_app.lab.world import FAULTS, World
from kamailio_app.runtime import settings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "lab") as made:
        yield made


def fetched(world: World, url: str) -> bytes:
    context = ssl.create_default_context(cafile=str(world.directory / "lab-ca.pem"))
    with urlopen(url, timeout=5, context=context) as answer:
        body: bytes = answer.read()
        return body


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["lab", *words])


def test_settings_name_servers_that_answer_and_secrets_that_nobody_else_reads(world: World) -> None:
    known = settings.load(world.settings_file)
    provider = known.provider
    assert json.loads(fetched(world, provider.sti_ca.directory))["newOrder"].startswith("https://localhost:")
    assert b"." in fetched(world, known.trust.trust_list_url)
    assert provider.spc == "1234"
    for path in (provider.sti_pa.password_file, provider.sti_ca.eab_key_file):
        assert path is not None
        assert path.stat().st_mode & 0o077 == 0


def test_chains_of_the_directory_are_served_and_nothing_else(world: World) -> None:
    issued = world.hierarchy.service_provider()
    (world.published / "sp1234.pem").write_bytes(issued.chain_pem)
    (world.published / "sp1234.key").write_bytes(b"secret")
    assert fetched(world, world.sti_cr.url("sp1234.pem")) == issued.chain_pem
    for name in ("sp1234.key", "..%2fstirshaken.toml", "../stirshaken.toml", "other.pem"):
        with pytest.raises(HTTPError, match="404"):
            fetched(world, world.sti_cr.url(name))


def test_repository_misbehaves_and_behaves_again(world: World) -> None:
    (world.published / "sp1234.pem").write_bytes(world.hierarchy.service_provider().chain_pem)
    world.tell(["misbehave", "sti-cr:missing"])
    with pytest.raises(HTTPError, match="404"):
        fetched(world, world.sti_cr.url("sp1234.pem"))
    world.tell(["behave"])
    assert fetched(world, world.sti_cr.url("sp1234.pem"))


def test_revoked_chain_stands_in_the_crl(world: World) -> None:
    issued = world.hierarchy.service_provider()
    (world.published / "sp1234.pem").write_bytes(issued.chain_pem)
    assert world.tell(["revoke", "sp1234"]) == "revoked: sp1234"
    assert issued.certificate.serial_number in _revoked(world)


def _revoked(world: World) -> set[int]:
    return {entry.serial_number for entry in x509.load_der_x509_crl(fetched(world, world.sti_pa.crl_url))}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["help"],
        ["misbehave"],
        ["behave", "now"],
        ["misbehave", "sti-pa:nothing"],
        ["misbehave", "slow"],
        ["revoke", "none"],
    ],
)
def test_what_it_cannot_be_told_is_said(world: World, words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"misbehave|faults|published"):
        world.tell(words)


def test_every_fault_can_be_told(world: World) -> None:
    for server, faults in FAULTS.items():
        for fault in faults:
            world.tell(["misbehave", f"{server}:{fault}"])
    world.tell(["behave"])
    assert fetched(world, world.sti_pa.crl_url)


def test_it_is_told_by_its_socket(tmp_path: Path) -> None:
    told: list[list[str]] = []

    def tell(words: list[str]) -> str:
        told.append(words)
        if words == ["no"]:
            raise ValueError("not that")
        return "done it"

    with Control(tmp_path, tell):
        assert ask(tmp_path, ["a", "b c"]) == "done it"
        result = run("tell", str(tmp_path), "misbehave", "sti-pa:slow")
        assert (result.exit_code, result.output) == (0, "done it\n")
        result = run("tell", str(tmp_path), "no", "--json")
        assert (result.exit_code, result.output) == (1, "not that\n")
    assert told == [["a", "b c"], ["misbehave", "sti-pa:slow"], ["no"]]
    result = run("tell", str(tmp_path), "behave")
    assert result.exit_code == 3
    assert "Start one with" in result.output


def test_faults_are_listed_with_their_words() -> None:
    listed = json.loads(run("faults", "--json").output)
    assert listed["sti-pa:token-expired"] == "the token has expired"
    assert {name.partition(":")[0] for name in listed} == {"sti-pa", "sti-ca", "sti-cr"}


@contextmanager
def up(directory: Path) -> Iterator[dict[str, str]]:
    """`lab up` in a process of its own: what it says."""
    command = [sys.executable, "-m", "kamailio_app.cli.main", "lab", "up", str(directory), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = ""
        while not said.rstrip().endswith("}"):
            line = running.stdout.readline()
            assert line, said
            said += line
        try:
            yield json.loads(said)
        finally:
            os.kill(running.pid, signal.SIGINT)
        assert running.wait(20) == 0


def test_it_runs_until_it_is_interrupted_alone_and_comes_again_at_the_same_ports(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    with up(lab) as data:
        settings_file = Path(data["settings"]).read_bytes()
        assert ask(lab, ["misbehave", "sti-ca:rate-limited"]) == "misbehaves: sti-ca:rate-limited"
        second = run("up", str(lab))
        assert second.exit_code == 3
        assert "runs in" in second.output.splitlines()[0]
        assert "lab tell" in second.output.splitlines()[1]
        assert Path(data["settings"]).read_bytes() == settings_file
        assert ask(lab, ["behave"]) == "behaves"
    assert not (lab / "control").exists()
    with up(lab) as again:
        assert again == data


@pytest.mark.parametrize("held", ["stirshaken.toml", "other"])
def test_it_begins_in_no_directory_that_holds_something_else(tmp_path: Path, held: str) -> None:
    (tmp_path / held).write_text("mine")
    result = run("up", str(tmp_path))
    assert (result.exit_code, "not empty" in result.output) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == [held]
    assert (tmp_path / held).read_text() == "mine"


@pytest.mark.parametrize("text", ["", "[]", '{"ports": [1]}', '{"ports": [0, 70000, -1]}', '{"ports": "abc"}', "[" * 4000])
def test_place_that_remembers_no_ports_has_any(tmp_path: Path, text: str) -> None:
    (tmp_path / MARKER).write_text(text)
    with Place(tmp_path) as place:
        assert place.ports == ()


def test_ports_that_somebody_else_has_are_not_used_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
        ports = (taken.getsockname()[1], other.getsockname()[1], 9)
        with Place(tmp_path) as place:
            place.keep(ports)
        with Place(tmp_path) as place:
            assert place.ports == ()


def test_walk_wants_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    assert run("walk", str(tmp_path)).exit_code == 2
