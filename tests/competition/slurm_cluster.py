"""A real Slurm of one node on loopback, from Debian's packages slurm-wlm and munge; needs root."""

import os
import platform
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=2
MaxArraySize={array}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4096 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why Slurm cannot be started here; empty if it can."""
    if missing := [name for name in PROGRAMS if path_of(name) is None]:
        return f"Slurm is not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)"
    return "slurmd needs root" if os.geteuid() else ""


def path_of(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def slurm_cluster(folder: Path, *, largest_array: int):
    """The SLURM_CONF of a cluster that runs while the context is open."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    conf = folder / "slurm.conf"
    host = platform.node().split(".")[0]
    conf.write_text(
        CONF.format(folder=folder, host=host, ports=_free_ports(2), array=largest_array, cores=os.cpu_count())
    )
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    munge = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    options = [f"--{name}={folder / file}" for name, file in {**munge, "seed-file": "munge.seed"}.items()]
    try:
        for command in (
            ["munged", "--force", *options],
            ["slurmctld", "-i", "-f", conf],
            ["slurmd", "-N", host, "-f", conf],
        ):
            subprocess.run([path_of(command[0]), *command[1:]], env=environment, check=True, capture_output=True)
        _wait_for_node(environment)
        yield str(conf)
    finally:
        _stop(folder)


def _wait_for_node(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True, check=False
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise RuntimeError(f"Slurm's node is not idle after a minute: {done.stdout} {done.stderr}")


def _stop(folder: Path) -> None:
    """End the daemons of this cluster by their process ids, and what they still run."""
    processes = []
    for name in ("slurmd.pid", "slurmctld.pid", "munge.pid"):
        path = folder / name
        if path.is_file() and psutil.pid_exists(number := int(path.read_text())):
            daemon = psutil.Process(number)
            processes += [*daemon.children(recursive=True), daemon]
    for process in processes:
        if process.is_running():
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=10)
    for process in alive:
        process.kill()
