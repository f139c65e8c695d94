"""What a job in bubblewrap can see and reach."""

import socket
from pathlib import Path

import pytest

from dfdc_kit.errors import SandboxError
from dfdc_kit.sandbox import bubblewrap

CLOSED = pytest.mark.parametrize("run_source", ["bubblewrap"], indirect=True)


def test_bubblewrap_raises_sandbox_error_when_it_does_not_start(run_source, monkeypatch):
    if run_source.backend != "bubblewrap":
        pytest.skip("it is about bwrap")
    real = bubblewrap._namespaces
    monkeypatch.setattr(bubblewrap, "_namespaces", lambda limits: [*real(limits), "--ro-bind", "/is-not-there", "/x"])
    with pytest.raises(SandboxError, match="did not start: bwrap: "):
        run_source("print('x')")


@CLOSED
def test_bubblewrap_cannot_reach_a_server_on_this_machine(run_source):
    """Even a server on this machine's own loopback cannot be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = f"import _socket as s\ns.socket(s.AF_INET, s.SOCK_STREAM).connect(('127.0.0.1', {port}))"
        outcome, printed = run_source(source)
    assert outcome.exit_code == 1
    assert b"Connection refused" in printed


@CLOSED
def test_bubblewrap_hides_home_checkout_and_test_folder(run_source, tmp_path):
    """It sees the stage by Kaggle's names, and neither the home folder, nor the checkout, nor this test's folder."""
    places = [
        str(Path.home() / ".bashrc"),
        str(Path.home() / ".kaggle"),
        __file__,
        str(tmp_path),
        "/root/.ssh",
    ]
    source = f"import os; print([p for p in {places!r} if os.path.exists(p)], os.listdir('/kaggle'))"
    _, printed = run_source(source)
    assert eval(printed.decode().strip().split("] ")[0] + "]") == []


@CLOSED
@pytest.mark.parametrize(
    "path", ["/kaggle/input/x", "/kaggle/src/x", "/usr/x", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches"]
)
def test_bubblewrap_refuses_writing_input_system_and_kernel_settings(run_source, path):
    """The kernel's settings belong to user 0: root's job could change them, even without capabilities."""
    source = f"import os; os.close(os.open({path!r}, os.O_WRONLY | os.O_CREAT))"
    outcome, printed = run_source(source)
    assert outcome.exit_code == 1
    assert b"Read-only file system" in printed or b"Permission denied" in printed


@CLOSED
def test_bubblewrap_job_has_no_capabilities_and_sees_no_other_process(run_source):
    source = "import os; print([line for line in open('/proc/self/status') if line.startswith('CapEff')], os.getpid())"
    _, printed = run_source(source)
    assert b"0000000000000000" in printed
    assert int(printed.split()[-1]) < 10
