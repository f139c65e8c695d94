"""Looks up a name and connects to an address outside."""

import socket

from common import attempt, write

attempt("name", lambda: socket.getaddrinfo("example.org", 80))
attempt("address", lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
write()
