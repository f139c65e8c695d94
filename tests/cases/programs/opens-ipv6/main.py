"""A TCP connection over IPv6."""

import socket

from common import PLACES, attempt, write

attempt("ipv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).connect(("::1", PLACES["ipv6"])))
write()
