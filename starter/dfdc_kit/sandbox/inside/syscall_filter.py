"""A seccomp filter in classic BPF, which refuses or fakes a few system calls.

Standard library only: the supervisor loads it. Constants from linux/filter.h and linux/seccomp.h.
"""

import ctypes
import errno
import os
import struct

TYPE_CHECKING = False  # importing typing would cost a fifth of the start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    Step = tuple[int, int, int, int]  # opcode; instructions to skip if true, if false; operand

SET_FILTER, SPEC_ALLOW = 1, 4  # without the slow speculation barriers that older kernels tie to seccomp
LOAD, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06  # LD|W|ABS, JMP|JEQ, JMP|JGE, JMP|JSET, RET
ALLOW, ERROR = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO, or-ed with the error's number
NUMBER, MACHINE, ARGUMENTS = 0, 4, (16, 24, 32)  # offsets in struct seccomp_data; low word first on both architectures
FOREIGN = 0x40000000  # x32: the same calls with other numbers
AF_UNIX, AF_NETLINK, NEW_USERS = 1, 16, 0x10000000
SET_OWNER, SET_OWNER_BY_POINTER = 8, 15  # fcntl: F_SETOWN, F_SETOWN_EX
SET_OWNER_BY_IOCTL = 0x8901, 0x8902
PER_USER = {"setpriority": 2, "ioprio_set": 3}  # the argument that means all processes of a user
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH of each
CALLS = {  # numbers, in the order of MACHINES
    "seccomp": (317, 277),
    "sched_setaffinity": (203, 122),
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "clone": (56, 220),
    "clone3": (435, 435),
    "unshare": (272, 97),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "prlimit64": (302, 261),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
}


def install(content: bytes) -> None:
    """Filter this process and all its descendants by a `program`. Needs `no_new_privs`. Raises OSError."""
    steps = ctypes.create_string_buffer(content, len(content))
    header = ctypes.create_string_buffer(struct.pack("HP", len(content) // 8, ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    words = map(ctypes.c_long, (_calls(os.uname().machine)["seccomp"], SET_FILTER, SPEC_ALLOW))
    if libc.syscall(*words, header):
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def program(
    machine: str,
    *,
    keep_cores: bool = False,
    close_network: bool = False,
    close_users: bool = False,
    protected_pids: "Sequence[int]" = (),
) -> bytes:
    """The filter's instructions, 8 bytes each. Raises OSError on an architecture that is not in MACHINES.

    keep_cores: setting the CPU affinity reports success and changes nothing, so that a program that asks for every core
    goes on. close_network: Unix and netlink sockets only, no io_uring. close_users: no user namespaces, in which a
    program could mount its own memory, and no kernel keyrings. protected_pids: processes (negative: process groups)
    that cannot be signalled or reprioritized; with it, a process can set resource limits only of itself.
    """
    call = _calls(machine)
    steps: list[Step] = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, MACHINES[machine]),
        (ANSWER, 0, 0, ERROR | errno.ENOSYS),  # 32-bit programs have other call numbers
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN),
        (ANSWER, 0, 0, ERROR | errno.ENOSYS),
    ]
    if keep_cores:
        steps += _on(call["sched_setaffinity"], (ANSWER, 0, 0, ERROR))  # error 0: reports success
    if close_network:
        steps += _on(call["io_uring_setup"], _refuse(errno.ENOSYS))
        steps += _on(
            call["socket"],
            (LOAD, 0, 0, ARGUMENTS[0]),
            (EQUAL, 2, 0, AF_UNIX),
            (EQUAL, 1, 0, AF_NETLINK),  # to list the network interfaces; libzmq ends the program without
            _refuse(errno.EACCES),
            _allow(),
        )
    if close_users:
        steps += _on(call["clone3"], _refuse(errno.ENOSYS))  # its flags cannot be read; C libraries use clone then
        for name in ("add_key", "request_key", "keyctl"):
            steps += _on(call[name], _refuse(errno.ENOSYS))
        for name in ("clone", "unshare"):
            steps += _on(
                call[name], (LOAD, 0, 0, ARGUMENTS[0]), (ANY_BIT, 0, 1, NEW_USERS), _refuse(errno.EPERM), _allow()
            )
    if protected_pids:
        for name in ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"):
            steps += _on(call[name], *_unless(ARGUMENTS[0], protected_pids))
        steps += _on(call["prlimit64"], *_only_self(ARGUMENTS[0]), _allow())
        for name in (
            "sched_setparam",
            "sched_setscheduler",
            "sched_setattr",
        ):  # not closed: ZeroMQ does it to its own threads
            steps += _on(call[name], *_unless(ARGUMENTS[0], protected_pids))
        for name, user in PER_USER.items():
            others = _unless(ARGUMENTS[1], protected_pids)[:-1]
            steps += _on(call[name], *others, *_unless(ARGUMENTS[0], [user]))
        for name in ("tkill", "pidfd_send_signal"):  # the target process is not in the arguments
            steps += _on(call[name], _refuse(errno.ENOSYS))
        owner = _unless(ARGUMENTS[2], protected_pids)
        steps += _on(
            call["fcntl"],
            (LOAD, 0, 0, ARGUMENTS[1]),
            (EQUAL, 0, 1, SET_OWNER_BY_POINTER),
            _refuse(errno.EPERM),
            (EQUAL, 0, len(owner), SET_OWNER),
            *owner,
            _allow(),
        )
        steps += _on(call["ioctl"], *_unless(ARGUMENTS[1], SET_OWNER_BY_IOCTL))
    steps.append(_allow())
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _calls(machine: str) -> dict[str, int]:
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"no system call filter for {machine}")
    at = list(MACHINES).index(machine)
    return {name: numbers[at] for name, numbers in CALLS.items()}


def _on(call: int, *steps: "Step") -> "list[Step]":
    """Instructions for one call; the last must be an answer."""
    return [(EQUAL, 0, len(steps), call), *steps]


def _only_self(argument: int) -> "list[Step]":
    """Refuse unless the process is given as 0: any other number may be a thread of another process."""
    return [(LOAD, 0, 0, argument), (EQUAL, 1, 0, 0), _refuse(errno.EPERM)]


def _unless(argument: int, values: "Sequence[int]") -> "list[Step]":
    """Allow unless the low word of an argument is one of `values`."""
    tests = [(EQUAL, 0, 1, value & 0xFFFFFFFF) for value in values]
    return [(LOAD, 0, 0, argument), *(step for test in tests for step in (test, _refuse(errno.EPERM))), _allow()]


def _allow() -> "Step":
    return (ANSWER, 0, 0, ALLOW)


def _refuse(error: int) -> "Step":
    return (ANSWER, 0, 0, ERROR | error)
