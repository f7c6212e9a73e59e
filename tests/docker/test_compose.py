"""docker/compose.yaml on a real Docker engine: it comes up by itself, calls are signed and verified, and it is shut tight."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from kamailio_app.lab.edge import ROOT
from kamailio_app.lab.pki import Hierarchy
from tests.docker import layers
from tests.load.kinds import BY_NAME

_SUITE: Final = os.environ.get("SUITE", "trixie")
_EDGE: Final = f"stirshaken-edge:{_SUITE}"
_EDGES: Final = ("originating-edge", "terminating-edge")
_RUNNING: Final = ("repository", "callee", *_EDGES)
_HEALTH: Final = "/opt/kamailio-stirshaken/docker/health.py"

# The first test that runs also builds: on a fresh engine that takes minutes
pytestmark = pytest.mark.timeout(480)


def _engine() -> str:
    """Why there is no Docker engine; nothing if one answers."""
    try:
        run = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return run.stderr.strip() if run.returncode else ""


@pytest.fixture(scope="module")
def _docker() -> None:
    if reason := _engine():
        pytest.skip(f"no Docker engine answers: {reason}")


def docker(*words: str, check: bool = True, timeout: float = 60) -> str:
    run = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout, check=False)
    assert not check or run.returncode == 0, f"docker {' '.join(words)}:\n{_worst(run.stdout)}{run.stderr[-3000:]}"
    return run.stdout


def _worst(text: str) -> str:
    """The end of it, and before that the suite's cases that failed, which may stand far above."""
    failed = re.findall(r"^(?:FAILED|ERROR) .*(?:\n .*)*", text, re.MULTILINE)
    return "\n".join([*failed, text[-3000:]])


class Deployment:
    """The compose project under a name and with networks of its own: it disturbs none that runs already."""

    def __init__(self) -> None:
        number = os.getpid()
        self.project = f"stirshaken-test-{number}"
        # RFC 2544: networks for tests of this kind
        os.environ["STIRSHAKEN_INSIDE"] = f"198.18.{number % 256}"
        os.environ["STIRSHAKEN_OUTSIDE"] = f"198.19.{number % 256}"

    def compose(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        file = str(ROOT / "docker/compose.yaml")
        return docker("compose", "--file", file, "--project-name", self.project, *words, check=check, timeout=timeout)

    def __enter__(self) -> Deployment:
        self.compose("--profile", "*", "build", timeout=800)
        try:
            self.compose("up", "--detach", timeout=120)
            until(lambda: all(self.health(service) == "healthy" for service in _RUNNING), 40, "all are healthy")
        except BaseException:
            print(self.compose("logs", "--no-color", check=False))
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "5", timeout=90)
        del os.environ["STIRSHAKEN_INSIDE"], os.environ["STIRSHAKEN_OUTSIDE"]

    def execute(self, service: str, *words: str, check: bool = True) -> str:
        return self.compose("exec", "--no-TTY", service, *words, check=check)

    def state(self, service: str) -> dict[str, object]:
        container = self.compose("ps", "--all", "--quiet", service).strip()
        state: dict[str, object] = json.loads(docker("inspect", "--format", "{{json .State}}", container))
        return state

    def health(self, service: str) -> str:
        health = self.state(service).get("Health")
        return str(health["Status"]) if isinstance(health, dict) else ""

    def logged(self, service: str, pattern: str) -> list[Any]:
        """What `re.findall` finds in its log."""
        return re.findall(pattern, self.compose("logs", "--no-color", "--no-log-prefix", service))


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll. Fails when it takes longer."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, f"not in {seconds:.0f} s: {what}"
        time.sleep(0.25)


@pytest.fixture(scope="module")
def deployment(_docker: None) -> Iterator[Deployment]:
    with Deployment() as running:
        yield running


def test_signed_calls_arrive_verified_and_unsigned_ones_marked(deployment: Deployment) -> None:
    table = deployment.compose("run", "--rm", "--no-TTY", "caller")
    assert table.endswith("\n5 calls, 0 not as they should be\n")
    signed = deployment.logged("originating-edge", r"stirshaken: sign call-id=(\S+) result=signed attest=([ABC]) ")
    assert [line[1] for line in signed] == ["A", "B", "C"]
    valid = deployment.logged("terminating-edge", r"stirshaken: verify call-id=(\S+) result=valid ")
    assert valid == [line[0] for line in signed]
    assert len(deployment.logged("terminating-edge", "result=failed token=identity_missing ")) == 2
    passed = r"callee: INVITE call-id=(\S+) verstat=TN-Validation-Passed identity=1\n"
    until(lambda: deployment.logged("callee", passed) == valid, 5, "the callee tells of three calls that passed")
    assert len(deployment.logged("callee", "verstat=No-TN-Validation identity=0\n")) == 2


@pytest.mark.parametrize("service", _RUNNING)
def test_no_process_is_root_and_none_can_write_into_its_image(deployment: Deployment, service: str) -> None:
    owners = deployment.execute(service, "sh", "-c", "stat -c %u /proc/[0-9]*").split()
    assert owners
    assert set(owners) == {"5060"}
    assert "Read-only file system" in deployment.execute(service, "sh", "-c", "touch /opt/here 2>&1 || true")


def test_the_private_key_is_readable_by_its_edge_only(deployment: Deployment) -> None:
    listing = deployment.execute("originating-edge", "sh", "-c", "stat -c '%a %U' /stirshaken/certificates/*.key")
    assert listing == "600 kamailio\n"
    for service in ("terminating-edge", "repository", "callee"):
        assert deployment.execute(service, "find", "/stirshaken/certificates", "-name", "*.key", check=False) == ""


def test_health_check_fails_while_the_sip_workers_hang(deployment: Deployment) -> None:
    workers = "$(kamcmd core.ps | grep -B1 '^udp receiver' | grep -o '^[0-9]*$')"
    for service in _EDGES:
        deployment.execute(service, "sh", "-c", f"kill -s STOP {workers}")
    try:
        for service in _EDGES:
            assert "no SIP answer" in deployment.execute(service, "python3", "-I", "-S", _HEALTH, check=False)
            until(lambda: deployment.health(service) == "unhealthy", 40, "unhealthy")  # noqa: B023 - used at once
    finally:
        for service in _EDGES:
            deployment.execute(service, "sh", "-c", f"kill -s CONT {workers}")
    until(lambda: all(deployment.health(service) == "healthy" for service in _EDGES), 20, "healthy again")


def test_health_check_fails_while_all_of_kamailio_hangs(deployment: Deployment) -> None:
    deployment.execute("originating-edge", "sh", "-c", "kill -s STOP -- -1")
    try:
        said = deployment.execute("originating-edge", "python3", "-I", "-S", _HEALTH, check=False)
    finally:
        deployment.execute("originating-edge", "sh", "-c", "kill -s CONT -- -1")
    assert said.startswith("not well: ")
    assert deployment.execute("originating-edge", "python3", "-I", "-S", _HEALTH).startswith("well: ")


# The suite runs with the Kamailio and the SIPp of its Debian
@pytest.mark.timeout(400)
def test_the_suite_passes_in_its_container(deployment: Deployment) -> None:
    said = deployment.compose("run", "--rm", "--no-TTY", "sipp-suite", timeout=380)
    assert re.search(r"^\d{3,} cases in .* s: \d{3,} passed(, \d+ not supported)?\.", said, re.MULTILINE), said[-3000:]


@pytest.mark.timeout(300)
def test_the_suite_calls_edges_in_other_containers(deployment: Deployment) -> None:
    said = deployment.compose("run", "--rm", "--no-TTY", "sipp-suite", "--target", "compose", timeout=280)
    assert re.search(r"^\d{3,} cases in .* s: \d{3,} passed, \d+ not supported\.", said, re.MULTILINE), said[-3000:]


@pytest.mark.timeout(200)
def test_the_load_test_runs_in_its_container(deployment: Deployment) -> None:
    said = deployment.compose("run", "--rm", "--no-TTY", "throughput", "--quick", "--kinds", "relay,sign", timeout=180)
    row = rf"^\| {re.escape(BY_NAME['sign'].title)} \| 1 \| \d+ \|"
    assert re.search(row, said, re.MULTILINE), said[-3000:]


@pytest.mark.parametrize("service", _EDGES)
def test_sigterm_ends_an_edge_cleanly_and_at_once(deployment: Deployment, service: str) -> None:
    began = time.monotonic()
    deployment.compose("stop", "--timeout", "20", service)
    assert time.monotonic() - began < 10
    assert deployment.state(service)["ExitCode"] == 0


@pytest.mark.usefixtures("deployment")
def test_the_edge_image_holds_no_key_no_tests_and_no_means_to_install() -> None:
    assert layers.saved(_EDGE) == []
    unwanted = (
        "command -v gcc cc make pip pip3 curl wget; ls -d /var/lib/apt/lists/* /var/cache/apt/archives/*.deb 2>/dev/null; "
        "find / -xdev \\( -path '*/kamailio_app/lab' -o -path '/opt/*/tests' -o -path '*/site-packages/pip' "
        "-o -name .git -o -path '/root/.cache/*' \\) 2>/dev/null; true"
    )
    assert docker("run", "--rm", "--entrypoint", "sh", _EDGE, "-c", unwanted) == ""


def test_a_private_key_in_a_layer_would_be_found() -> None:
    key = Hierarchy(time.time()).root.key_pem
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as layer:
        for name, octets in {"opt/a.key": key, "opt/a.txt": b"-----BEGIN PRIVATE KEY----- is how it begins"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(octets)
            layer.addfile(member, io.BytesIO(octets))
    archive.seek(0)
    with tarfile.open(fileobj=archive) as layer:
        assert list(layers.files_with_keys(layer)) == ["opt/a.key"]
