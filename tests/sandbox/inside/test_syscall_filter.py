"""The system call filter, interpreted step by step for both architectures."""

import errno
import struct

import pytest

from dfdc_kit.sandbox.inside.syscall_filter import CALLS, MACHINES, program

ALLOWED = 0x7FFF0000
US = 4242
EVERYTHING = {"keep_cores": True, "close_network": True, "close_users": True, "protected_pids": [US, -US, -1]}


def answer(content: bytes, machine: int, number: int, *arguments: int) -> int:
    """What the kernel would answer, by classic BPF on a struct seccomp_data, see linux/filter.h."""
    words = [value & 0xFFFFFFFFFFFFFFFF for value in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<iIQ6Q", number, machine, 0, *words)
    steps = list(struct.iter_unpack("<HBBI", content))
    at, loaded = 0, 0
    while True:
        operation, yes, no, operand = steps[at]
        at += 1
        if operation == 0x06:
            return operand
        if operation == 0x20:
            loaded = struct.unpack_from("<I", data, operand)[0]
        else:
            jump = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[operation]
            at += yes if jump else no


def refused(error: int) -> int:
    return 0x00050000 | error


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("call", "arguments", "expected"),
    [
        ("sched_setaffinity", (0, 8), refused(0)),
        ("socket", (1, 1), ALLOWED),
        ("socket", (2, 1), refused(errno.EACCES)),
        ("socket", (10, 1), refused(errno.EACCES)),
        ("socket", (16, 3), ALLOWED),
        ("io_uring_setup", (), refused(errno.ENOSYS)),
        ("clone", (0x10000000 | 17,), refused(errno.EPERM)),
        ("clone", (0x3D0F00,), ALLOWED),  # a thread
        ("clone3", (), refused(errno.ENOSYS)),
        ("unshare", (0x10000000 | 0x20000,), refused(errno.EPERM)),
        ("unshare", (0x400,), ALLOWED),
        ("keyctl", (11,), refused(errno.ENOSYS)),
        ("request_key", (), refused(errno.ENOSYS)),
        ("add_key", (), refused(errno.ENOSYS)),
        ("kill", (US, 9), refused(errno.EPERM)),
        ("kill", (-US, 9), refused(errno.EPERM)),
        ("kill", (-1, 9), refused(errno.EPERM)),
        ("kill", (US + 1, 9), ALLOWED),
        ("kill", (0, 9), ALLOWED),
        ("tgkill", (US, US, 9), refused(errno.EPERM)),
        ("tgkill", (7, US, 9), ALLOWED),
        ("tkill", (7, 9), refused(errno.ENOSYS)),
        ("rt_sigqueueinfo", (US, 9), refused(errno.EPERM)),
        ("rt_tgsigqueueinfo", (US, US, 9), refused(errno.EPERM)),
        ("pidfd_send_signal", (3, 9), refused(errno.ENOSYS)),
        ("prlimit64", (7, 0), refused(errno.EPERM)),
        ("sched_setscheduler", (US, 0), refused(errno.EPERM)),
        ("sched_setscheduler", (7, 0), ALLOWED),
        ("sched_setparam", (US, 0), refused(errno.EPERM)),
        ("sched_setattr", (US, 0), refused(errno.EPERM)),
        ("setpriority", (0, US), refused(errno.EPERM)),
        ("setpriority", (2, 0), refused(errno.EPERM)),
        ("setpriority", (0, 0), ALLOWED),
        ("ioprio_set", (3, 0), refused(errno.EPERM)),
        ("ioprio_set", (1, US), refused(errno.EPERM)),
        ("ioprio_set", (1, 0), ALLOWED),
        ("prlimit64", (0, 0), ALLOWED),
        ("fcntl", (3, 8, US), refused(errno.EPERM)),
        ("fcntl", (3, 8, 7), ALLOWED),
        ("fcntl", (3, 15), refused(errno.EPERM)),
        ("fcntl", (3, 1, US), ALLOWED),
        ("ioctl", (3, 0x8901), refused(errno.EPERM)),
        ("ioctl", (3, 0x5401), ALLOWED),
    ],
)
def test_filter_answers_each_call(machine, call, arguments, expected):
    at = list(MACHINES).index(machine)
    content = program(machine, **EVERYTHING)
    assert answer(content, MACHINES[machine], CALLS[call][at], *arguments) == expected
    assert answer(program(machine), MACHINES[machine], CALLS[call][at], *arguments) == ALLOWED


@pytest.mark.parametrize("machine", MACHINES)
def test_filter_allows_every_other_call(machine):
    at = list(MACHINES).index(machine)
    known = {numbers[at] for numbers in CALLS.values()}
    content = program(machine, **EVERYTHING)
    assert {answer(content, MACHINES[machine], number) for number in range(600) if number not in known} == {ALLOWED}


def test_filter_refuses_other_architectures():
    content = program("x86_64")
    assert answer(content, 0x40000003, 1) == refused(errno.ENOSYS)  # 32 bits
    assert answer(content, MACHINES["x86_64"], 0x40000000 + 1) == refused(errno.ENOSYS)  # x32
    with pytest.raises(OSError, match="no system call filter for riscv64"):
        program("riscv64")
