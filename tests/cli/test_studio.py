"""`gatework studio`: what it says, what it refuses, and that it ends when it is told to."""

import signal
import socket
import subprocess
import sys

import httpx2
import pytest

from gatework.cli import asked

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from gatework.cli import main; main()"]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_it_serves_until_it_is_interrupted(run_folder, number, code):
    command = [*COMMAND, "studio", str(run_folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        assert address.startswith("http://127.0.0.1:")
        assert httpx2.get(address).status_code == 200
        assert httpx2.get(address, headers={"host": "evil.example"}).status_code == 421
        process.send_signal(number)
        process.stdout.read()
        assert process.wait(30) == code


def test_a_port_that_is_taken_is_told(gatework, run_folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = gatework("studio", str(run_folder), "--port", port, "--no-browser")
    assert result.code == 2
    assert f"port {port}" in result.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no run in 'nowhere'"),
        (["mine", "--port", "70000"], "--port 70000"),
        (["mine", "--port", "-1"], "--port -1"),
    ],
)
@pytest.mark.usefixtures("run_folder")
def test_what_cannot_be_shown_is_told(gatework, arguments, told):
    result = gatework("studio", *arguments, "--no-browser")
    assert result.code == 2
    assert told in result.err


def test_without_its_optional_part_it_says_how_to_install_it(gatework, run_folder, monkeypatch):
    monkeypatch.setattr(asked, "find_spec", lambda name: None)
    result = gatework("studio", str(run_folder))
    assert result.code == 2
    assert "pip install starlette uvicorn" in result.err


@pytest.mark.slow
def test_clients_that_leave_or_wait_disturb_nobody(run_folder):
    command = [*COMMAND, "studio", str(run_folder), "--port", "0", "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        address = process.stdout.readline().split()[1]
        port = int(address.rsplit(":", 1)[1].strip("/"))
        head = f"POST /api/cell HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for one in slow:
            one.sendall(head.encode())  # and no more
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as leaving:
                body = "Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
                leaving.sendall((head + body).encode())
        assert httpx2.get(address).status_code == 200
        for one in slow:
            one.close()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert "Traceback" not in said
