"""Child processes, threads, pools, shared memory, pseudo-terminals."""

import asyncio
import concurrent.futures
import contextvars
import logging
import logging.handlers
import multiprocessing
import multiprocessing.shared_memory
import os
import pty
import queue
import shlex
import subprocess
import sys
import threading
import tty
import warnings

from common import run_checks


def double(number):
    return 2 * number


def check_subprocess():
    assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"


def check_subprocess_by_name():
    assert subprocess.run(["python3", "-c", "print(1)"], capture_output=True, text=True).stdout == "1\n"


def check_subprocess_with_shell():
    assert subprocess.check_output("echo a | tr a b", shell=True, text=True) == "b\n"


def check_bash():
    assert subprocess.check_output(["bash", "-c", "for i in 1 2; do echo $i; done"], text=True) == "1\n2\n"


def check_coreutils():
    subprocess.run(
        "ls / > list.txt; cat list.txt | wc -l; df . ; du -s . ; date; whoami; uname -a; nproc; id",
        shell=True,
        check=True,
    )


def check_os_system_and_popen():
    assert os.system("true") == 0
    with os.popen("echo x") as pipe:
        assert pipe.read() == "x\n"


def check_subprocess_timeout():
    try:
        subprocess.run(["sleep", "5"], timeout=0.05)
    except subprocess.TimeoutExpired:
        return
    raise AssertionError("no timeout")


def check_fork_and_wait():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def check_multiprocessing_pool_by_fork():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(double, range(4)) == [0, 2, 4, 6]


def check_multiprocessing_manager_and_queue():
    with multiprocessing.Manager() as manager:
        shared = manager.dict(a=1)
        assert shared["a"] == 1
    channel = multiprocessing.Queue()
    child = multiprocessing.Process(target=channel.put, args=(1,))
    child.start()
    assert channel.get(timeout=30) == 1
    child.join()


def check_multiprocessing_lock_value_event():
    lock, value, event = multiprocessing.Lock(), multiprocessing.Value("i", 1), multiprocessing.Event()
    with lock:
        value.value += 1
    event.set()
    assert value.value == 2


def check_multiprocessing_pipe():
    one, two = multiprocessing.Pipe()
    one.send({"a": 1})
    assert two.recv() == {"a": 1}


def check_shared_memory():
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096)
    try:
        memory.buf[0] = 7
        other = multiprocessing.shared_memory.SharedMemory(memory.name)
        assert other.buf[0] == 7
        other.close()
    finally:
        memory.close()
        memory.unlink()


def check_process_pool_executor():
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(double, range(3))) == [0, 2, 4]


def check_threads():
    results = queue.Queue()
    threads = [threading.Thread(target=results.put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.qsize() == 8


def check_thread_pool_executor():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(double, range(4))) == 12


def check_asyncio():
    async def main():
        process = await asyncio.create_subprocess_exec("true")
        await asyncio.gather(process.wait(), asyncio.sleep(0.01))
        return await asyncio.to_thread(double, 2)

    assert asyncio.run(main()) == 4


def check_kill_a_child():
    child = subprocess.Popen(["sleep", "30"])
    child.terminate()
    assert child.wait() == -15


def check_new_session_and_process_group():
    child = subprocess.Popen(["sleep", "30"], start_new_session=True)
    os.killpg(child.pid, 9)
    assert child.wait() == -9


def check_openpty():
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.write(slave, b"x")
    assert os.read(master, 1) == b"x"
    assert os.ttyname(slave).startswith("/dev/")


def check_program_in_a_pseudo_terminal():
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("sh", ["sh", "-c", "test -t 1 && echo terminal"])
    text = b""
    try:
        while data := os.read(master, 100):
            text += data
    except OSError:
        pass
    os.waitpid(pid, 0)
    assert b"terminal" in text


def check_logging():
    logger = logging.getLogger("ordinary")
    logger.addHandler(logging.handlers.RotatingFileHandler("log.log", maxBytes=1000))
    logger.warning("x")
    logging.shutdown()


def check_warnings_and_context():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("x", stacklevel=1)
    assert caught
    assert contextvars.copy_context() is not None
    assert shlex.split("a 'b c'") == ["a", "b c"]


def check_interpreter_in_the_shell():
    assert (
        subprocess.check_output(f"{shlex.quote(sys.executable)} -m json.tool", shell=True, input=b"{}").strip() == b"{}"
    )


if __name__ == "__main__":
    run_checks(globals())
