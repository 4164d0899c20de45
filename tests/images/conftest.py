"""Fixtures of the image tests."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.support import encoded, photograph

IMAGE = Image.fromarray(photograph())


@pytest.fixture(scope="package")
def server() -> Iterator[str]:
    """A web server on this machine that serves an image and failing responses."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path in ("/photo.png", "/mit%20Leerzeichen%20%C3%A9.png"):
                self.answer(200, encoded(IMAGE, "PNG"))
            elif path == "/page.png":
                self.answer(200, b"<!DOCTYPE html><html></html>", "text/html")
            elif path == "/moved.png":
                self.answer(302, b"", location="/photo.png")
            elif path == "/to-file.png":
                self.answer(302, b"", location="file:///etc/hostname")
            elif path == "/endless.png":
                self.answer(200, b"x" * 30_000)
            elif path == "/cut.png":
                self.answer(200, encoded(IMAGE, "PNG")[:500], length=100_000)
            elif path == "/nonsense":
                self.wfile.write(b"nonsense\r\n\r\n")
            elif path == "/slow.png":
                self.send_response(200)
                self.end_headers()
                stop.wait(5)
            else:
                self.answer(404, b"no")

        def answer(
            self,
            code: int,
            body: bytes,
            kind: str = "image/png",
            location: str = "",
            length: int | None = None,
        ) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(body)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Print nothing."""

    stop = threading.Event()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield f"http://127.0.0.1:{httpd.server_port}"
    stop.set()
    httpd.shutdown()
    thread.join()
    httpd.server_close()
