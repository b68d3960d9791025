"""deploy/Containerfile, without a container engine: its paths, its user, and its commands run from this environment."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TREE = "/opt/unbraid"


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage: name and the rest of the line."""
    text = (ROOT / "deploy" / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            if name == "FROM":
                found.append([])
            found[-1].append((name, rest.strip()))
    return found


@pytest.fixture(scope="module")
def image(stages) -> dict[str, str]:
    """The instructions of the image, each of which stands there once."""
    names = [name for name, _ in stages[-1]]
    assert len(names) == len(set(names))
    return dict(stages[-1])


def command_of(instruction: str) -> list[str]:
    return list(json.loads(instruction[instruction.index("[") :]))


def test_only_the_wheel_is_sent_to_the_builder(stages):
    ignored = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
    assert [line for line in ignored if line and line[0] != "#"] == ["*", "!dist/*.whl"]
    assert [rest for name, rest in stages[0] if name == "COPY"] == ["dist/*.whl /wheels/"]


def test_the_image_gets_the_environment_and_nothing_that_builds(stages, image):
    assert image["COPY"] == f"--from=build {TREE} {TREE}"
    assert "RUN" not in image
    assert stages[0][0][1].split()[0] == stages[-1][0][1]  # the same Python
    assert any("venv --without-pip" in rest for _, rest in stages[0])


def test_every_shell_line_can_be_parsed(stages):
    for name, rest in [one for stage in stages for one in stage]:
        if name == "RUN":
            subprocess.run(["sh", "-n", "-c", rest], check=True)


def test_it_runs_as_a_user_without_privileges_or_home(image):
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", image["USER"])
    variables = dict(one.split("=", 1) for one in shlex.split(image["ENV"]))
    assert variables["HOME"] == "/nonexistent"
    assert variables["ORT_DISABLE_TELEMETRY"] == variables["PYTHONDONTWRITEBYTECODE"] == "1"


def test_one_port_everywhere(image):
    entry = command_of(image["ENTRYPOINT"])
    port = entry[entry.index("--port") + 1]
    assert image["EXPOSE"] == port
    assert f"127.0.0.1:{port}/ready" in image["HEALTHCHECK"]


def test_its_python_is_one_that_the_package_supports(image):
    version = re.search(r"python:3\.(\d+)-slim", image["FROM"])
    assert version and 11 <= int(version[1]) <= 14


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_it_serves_is_healthy_and_drains_with_no_home_and_writes_no_file(image, tmp_path):
    """The commands as they are, but for the place of Python, the port and the file with the keys."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here, temporary = tmp_path / "here", tmp_path / "tmp"
    here.mkdir()
    temporary.mkdir()
    keys = tmp_path / "keys"
    keys.write_text("a-key-of-one-client\n")

    def placed(command):
        tools = str(Path(sys.executable).parent)
        moved = {"/run/secrets/keys": str(keys), "8000": str(port)}
        return [
            moved.get(one, one).replace(f"{TREE}/bin", tools).replace(":8000/", f":{port}/")
            for one in command
        ]

    variables = dict(one.split("=", 1) for one in shlex.split(image["ENV"]))
    environment = {**variables, "PATH": os.environ["PATH"], "TMPDIR": str(temporary)}
    here.chmod(0o500)
    with subprocess.Popen(
        placed(command_of(image["ENTRYPOINT"])),
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            check = placed(command_of(image["HEALTHCHECK"]))
            deadline = time.monotonic() + 60
            while subprocess.run(
                check, cwd=here, env=environment, capture_output=True, check=False
            ).returncode:
                assert server.poll() is None and time.monotonic() < deadline
            server.send_signal(getattr(signal, image["STOPSIGNAL"]))
            said, _ = server.communicate(timeout=60)
        except BaseException:
            server.kill()
            raise
    assert server.returncode == 0, said
    assert "draining" in said
    assert [*here.iterdir(), *temporary.iterdir()] == []
