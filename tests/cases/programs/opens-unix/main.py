"""A connection to a service of this machine that listens on a path."""

import socket

from common import PLACES, attempt, write

attempt("unix", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(PLACES["unix"]))
write()
