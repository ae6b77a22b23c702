"""No server and no ASGI: a protocol of asyncio's that parses with httptools, on uvloop. Nothing in Python is faster."""

# /// script
# dependencies = ["uvloop>=0.22", "httptools>=0.7"]
# ///

import asyncio
import os

import httptools
import uvloop
from echoing import HEADERS

HEAD = b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in HEADERS)


class Echo(asyncio.Protocol):
    """A connection."""

    def connection_made(self, transport):
        """Begin."""
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data):
        """Read."""
        self.parser.feed_data(data)

    def on_message_begin(self):
        """Begin a request."""
        self.body = b""

    def on_header(self, name, value):
        """Look at a header, as whoever answers must."""

    def on_body(self, body):
        """Take in a part of the body."""
        self.body += body

    def on_message_complete(self):
        """Answer."""
        self.transport.write(HEAD + b"content-length: %d\r\n\r\n" % len(self.body) + self.body)


async def main():
    """Serve."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", int(os.environ["PORT"]))
    await server.serve_forever()


uvloop.run(main())
