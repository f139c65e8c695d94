"""A seccomp filter in plain BPF: a few system calls are answered here instead of by the kernel.

Standard library only: the supervisor loads it. Classic BPF as in linux/filter.h, values of linux/seccomp.h.
"""

import ctypes
import errno
import os
import struct

SET_FILTER, SPEC_ALLOW = 1, 4  # no slow mode of the processor against side channels, which older kernels tie to it
LOAD, EQUAL, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ, BPF_JMP|JGE, BPF_RET
ALLOW, ERROR = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO, or-ed with the error's number
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; low word first: both machines are so
FOREIGN = 0x40000000  # x32: the same calls under other numbers
MACHINES = {  # audit's name of the machine; seccomp; sched_setaffinity; socket; io_uring_setup
    "x86_64": (0xC000003E, 317, 203, 41, 425),
    "aarch64": (0xC00000B7, 277, 122, 198, 425),
}


def install(*, keep_cores: bool, close_network: bool) -> None:
    """Filter this process and all its descendants. Needs `no_new_privs`. Raises OSError.

    keep_cores: a change of the allowed CPU cores seems to work and changes nothing, so that a program that asks for
    every core of the machine goes on. close_network: there are no sockets but Unix ones, and no io_uring.
    """
    content = program(os.uname().machine, keep_cores=keep_cores, close_network=close_network)
    steps = ctypes.create_string_buffer(content, len(content))
    header = ctypes.create_string_buffer(struct.pack("HP", len(content) // 8, ctypes.addressof(steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    words = map(ctypes.c_long, (MACHINES[os.uname().machine][1], SET_FILTER, SPEC_ALLOW))
    if libc.syscall(*words, header):
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def program(machine: str, *, keep_cores: bool, close_network: bool) -> bytes:
    """The filter's instructions, 8 bytes each. Raises OSError on a machine whose call numbers are not listed here."""
    if machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"no filter is written for {machine}")
    name, _, set_cores, socket, io_uring = MACHINES[machine]
    steps = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, name),
        (ANSWER, 0, 0, ERROR | errno.ENOSYS),  # a program for another machine (32 bits) has other call numbers
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, FOREIGN),
        (ANSWER, 0, 0, ERROR | errno.ENOSYS),
    ]
    if keep_cores:
        steps += [(EQUAL, 0, 1, set_cores), (ANSWER, 0, 0, ERROR)]  # error 0: it says that it worked
    if close_network:
        steps += [(EQUAL, 0, 1, io_uring), (ANSWER, 0, 0, ERROR | errno.ENOSYS)]
        steps += [(EQUAL, 0, 3, socket), (LOAD, 0, 0, FIRST_ARGUMENT)]
        steps += [(EQUAL, 1, 0, 1), (ANSWER, 0, 0, ERROR | errno.EACCES)]  # 1: AF_UNIX
    steps.append((ANSWER, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
