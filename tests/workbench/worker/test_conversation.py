"""The socket: who may speak, what is not understood, what is too long, and who reads too slowly."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput, WorkbenchError
from tests.workbench.command_line import workbench
from tests.workbench.worker.test_running_jobs import detached, scripted
from workbench import VERSION
from workbench.worker.client import WorkerClient
from workbench.worker.protocol import LINE_LIMIT_BYTES, OPERATIONS, PROTOCOL, decode, encode, hello, read_request
from workbench.worker.runtime_directory import LONGEST_SOCKET_PATH, RUNTIME_VARIABLE, address_of, peer_is_owner

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)


@given(st.dictionaries(st.text(), JSON))
def test_given_any_message_when_sent_then_it_is_one_line_and_reads_back(message: dict[str, object]) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(
    st.binary()
    | st.dictionaries(st.text() | st.sampled_from(["op", "number"]), JSON | st.sampled_from(OPERATIONS)).map(encode)
)
def test_given_any_line_when_read_as_a_request_then_it_is_one_or_bad_input(line: bytes) -> None:
    try:
        assert read_request(line).op in OPERATIONS
    except BadInput as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"nonsense\n", "the line is not JSON"),
        (b"[1]\n", "the line is not a JSON object"),
        (b"[" * 100_000 + b"\n", "the line is not JSON"),
        (b'{"op": "explode"}\n', "no operation 'explode'"),
        (b'{"op": "cancel", "job": "x"}\n', "cancel needs a number 'job'"),
        (b'{"op": "cancel", "job": 99999}\n', "no job 99999 in this project"),
        (b'{"op": "cancel", "job": 99999999999999999999}\n', "no job 99999999999999999999 in this project"),
        (b'{"op": "status", "number": true}\n', "a request's number is no number"),
        (b'{"op": "submit", "kind": "scripted", "origin": "/\\ud800", "params": {}}\n', "is not UTF-8"),
        (b'{"op": "reprioritise", "job": 99999}\n', "no job 99999 in this project"),
        (b'{"op": "reprioritise", "job": 1, "after": "x"}\n', "reprioritise needs a number 'after'"),
        (b'{"op": "submit", "retry": 99999}\n', "no job 99999 in this project"),
        (b'{"op": "submit", "kind": "unheard", "origin": "/"}\n', "no task named 'unheard'"),
        (b'{"op": "submit", "kind": "scripted", "origin": "/", "params": 1}\n', "scripted does not take these params"),
        (b"x" * (3 * LINE_LIMIT_BYTES) + b"\n", f"a line of more than {LINE_LIMIT_BYTES} bytes"),
    ],
)
def test_given_a_line_that_makes_no_sense_when_sent_then_it_is_refused_and_the_talk_goes_on(
    served: Path, line: bytes, fault: str
) -> None:
    with WorkerClient.require(served) as client:
        client.connection.sendall(line)
        answer = client._message(30)
        assert answer is not None
        assert fault in answer["error"]
        assert client.ask("status")["queue"] == []


def test_given_another_version_of_the_protocol_when_a_client_comes_then_both_sides_say_so(
    served: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as old:
        old.connect(str(address_of(served).socket))
        old.sendall(encode({"hello": {"protocol": 0}}))
        lines = old.makefile("rb").read().splitlines()
    assert decode(lines[0])["hello"]["protocol"] == PROTOCOL
    assert f"the worker's protocol is {PROTOCOL} on one side and 0 on the other" in decode(lines[1])["error"]
    with _answering(project, {"hello": {"protocol": 99, "version": "9"}}):
        ran = scripted(capsys, project)
    assert (ran.exit_code, ran.out) == (2, "")
    assert "99 on the other; `workbench worker stop` with the workbench that started it" in ran.err


def _answering(project: Path, greeting: dict[str, object]) -> socket.socket:
    """A socket where the project's worker would be, that greets whoever comes."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(address_of(project).socket))
    listening.listen()

    def greet() -> None:
        connection, _ = listening.accept()
        connection.sendall(encode(greeting))
        connection.recv(1 << 16)

    threading.Thread(target=greet, daemon=True).start()
    return listening


def test_given_a_client_that_reads_nothing_when_a_job_narrates_then_the_worker_goes_on(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with WorkerClient.require(served) as deaf, WorkerClient.require(served) as client:
        deaf.ask("subscribe", job=0)
        for _ in range(20):
            assert scripted(capsys, served, "--loud", "x" * 100_000, "--steps", "2").exit_code == 0
        assert client.ask("status")["running"] is None


def test_given_a_late_subscriber_when_a_job_runs_then_it_gets_the_events_and_where_the_job_is(
    served: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job_id = detached(capsys, served, "--steps", "1000", "--step-s", "0.02", "--loud", "said before")
    with WorkerClient.require(served) as first:
        first.ask("subscribe", job=job_id)
        while (seen := first.announcement(60)) is None or not seen.get("progress"):
            pass
    with WorkerClient.require(served) as late:
        late.ask("subscribe", job=job_id)
        got = [late.announcement(60) or {} for _ in range(5)]
        assert [message["event"]["text"] for message in got if "event" in message][1:] == [os.getcwd(), "running"]
        assert "said before" in [message.get("note") for message in got]
        assert any(message.get("progress") for message in got)
        late.ask("cancel", job=job_id)
        while "event" not in (message := late.announcement(60) or {}) or message["event"]["text"] != "cancelled":
            pass
        since = message["event"]["id"]
        late.ask("subscribe", job=job_id, since=since)
        while (after := late.announcement(0.2)) is not None:  # how the cancel went may be told after the end itself
            assert after.get("event", {"id": since + 1})["id"] > since, "nothing is told twice"


@pytest.mark.parametrize("since", [10**30, -(10**30)])
def test_given_an_event_that_cannot_be_when_subscribed_since_then_the_talk_goes_on(served: Path, since: int) -> None:
    with WorkerClient.require(served) as client:
        newest = client.ask("subscribe", job=0, since=since)["event"]
        assert client.ask("subscribe", job=0, since=-1)["event"] == newest


def test_given_the_runtime_directory_when_looked_at_then_it_and_the_socket_are_this_persons_alone(served: Path) -> None:
    address = address_of(served)
    assert address.folder.stat().st_mode & 0o777 == 0o700
    assert address.socket.stat().st_mode & 0o777 == 0o600
    assert address_of(served / ".." / served.name) == address


@pytest.mark.parametrize("harm", ["open", "link", "file"])
def test_given_a_runtime_directory_that_others_could_enter_when_used_then_it_is_refused(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    if harm == "open":
        folder.mkdir(mode=0o755)
    elif harm == "link":
        (tmp_path / "real").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "real")
    else:
        folder.touch(mode=0o600)
    monkeypatch.setenv(RUNTIME_VARIABLE, str(folder))
    with pytest.raises(WorkbenchError, match="is not a directory that is yours alone"):
        address_of(tmp_path)


def test_given_a_path_too_long_for_a_socket_when_used_then_one_line_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(RUNTIME_VARIABLE, str(tmp_path / ("x" * LONGEST_SOCKET_PATH)))
    ran = workbench(capsys, "--project", str(project), "worker", "start")
    assert (ran.exit_code, ran.out) == (2, "")
    assert f"and may have {LONGEST_SOCKET_PATH}; name a shorter directory in $WORKBENCH_RUNTIME_DIR" in ran.err


_STRANGER = """
import os, socket, sys
os.setuid(65534)
talk = socket.socket(socket.AF_UNIX)
try:
    talk.connect(sys.argv[1])
except PermissionError:
    sys.exit(7)
talk.settimeout(30)
print(len(talk.recv(100)))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("modes", ["as they are", "opened"])
def test_given_another_user_when_they_knock_then_they_get_nothing(served: Path, modes: str) -> None:
    address = address_of(served)
    if modes == "opened":
        address.folder.chmod(0o777)
        address.socket.chmod(0o777)
    try:
        command = [sys.executable, "-c", _STRANGER, str(address.socket)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    finally:
        address.folder.chmod(0o700)
        address.socket.chmod(0o600)
    expected = (7, "") if modes == "as they are" else (0, "0\n")
    assert (ended.returncode, ended.stdout) == expected, ended.stderr


def test_given_two_ends_of_one_process_when_asked_then_the_peer_is_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_is_owner(ours)
        monkeypatch.setattr("workbench.worker.runtime_directory.os.getuid", lambda: 12345)
        assert not peer_is_owner(ours)


def test_given_the_hello_when_made_then_it_names_protocol_and_version() -> None:
    assert hello(VERSION, pid=3) == {"hello": {"protocol": PROTOCOL, "version": VERSION, "pid": 3}}
    assert json.loads(encode(hello(VERSION)))
