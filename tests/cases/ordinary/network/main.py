"""Loopback, Unix sockets, TLS contexts; and the internet, which fails as an error that programs expect."""

import contextlib
import http.server
import os
import selectors
import socket
import ssl
import tempfile
import threading
import urllib.error
import urllib.request
import xmlrpc.client

from common import run_checks


def check_tcp_over_loopback():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), 10) as client:
        connection, _ = server.accept()
        with connection:
            client.sendall(b"x")
            assert connection.recv(1) == b"x"


def check_udp_over_loopback():
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        one.bind(("127.0.0.1", 0))
        one.settimeout(10)
        two.sendto(b"x", one.getsockname())
        assert one.recv(1) == b"x"


def check_http_server_on_loopback():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=10)
        thread.join()


def check_localhost():
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert socket.getaddrinfo("127.0.0.1", 80)
    assert socket.getservbyname("http") == 80


def check_unix_socket():
    path = os.path.join(tempfile.mkdtemp(), "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)


def check_socketpair_and_selectors():
    one, two = socket.socketpair()
    with selectors.DefaultSelector() as selector:
        selector.register(two, selectors.EVENT_READ)
        one.send(b"x")
        assert selector.select(10)


def check_ssl_default_context():
    context = ssl.create_default_context()
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert ssl.OPENSSL_VERSION


def check_network_interfaces():
    assert any(name == "lo" for _, name in socket.if_nameindex())


def check_free_port():
    with socket.socket() as probe:
        probe.bind(("", 0))
        assert probe.getsockname()[1]


def check_the_internet_fails_as_an_os_error():
    try:
        urllib.request.urlopen("http://example.com/", timeout=5)
    except OSError:
        return
    raise AssertionError("the internet was reached")


def check_modules():
    assert xmlrpc.client


run_checks(globals())
