"""A pool of workers with locks and shared memory: allowed."""

import multiprocessing

from common import write

if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool, multiprocessing.Manager() as manager:
        assert pool.map(abs, [-1, 2]) == [1, 2]
        assert manager.list([1])[0] == 1
    write()
