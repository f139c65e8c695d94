"""A TCP connection to a server of this machine."""

import socket

from common import PLACES, attempt, write

attempt("tcp", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("127.0.0.1", PLACES["tcp"])))
write()
