"""Its own processes talk over loopback, as clusters of workers do: allowed."""

import socket

from common import write

with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
    client.sendall(b"hello")
    assert server.accept()[0].recv(5) == b"hello"
write()
