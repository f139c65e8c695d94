"""A connection to a service of this machine that listens on an abstract name."""

import socket

from common import PLACES, attempt, write

attempt("abstract", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("\0" + PLACES["abstract"]))
write()
