"""A server on loopback that says byte for byte what a story makes it say."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

#: What is done with one connection after its request's head has come: raw bytes to answer, or a deed of its own.
Reply = bytes | Callable[[socket.socket], None]


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """An HTTP/1.1 answer; `length` may lie."""
    told = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {told}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reset(connection: socket.socket) -> None:
    """Cut the connection without a word (RST)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass
class Server:
    """A listening server and what it was asked."""

    port: int
    #: Heads of the requests that came, and how many connections they took.
    heads: list[str] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(*replies: Reply, keep_alive: bool = False, greeting: bytes = b"") -> Iterator[Server]:
    """Answers requests with these replies, in order, the last one for ever; `greeting` is said before any request."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])
        left = iter(replies)
        last = [replies[0]]

        def serve_one(connection: socket.socket) -> bool:
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(65_536)
                if not data:
                    return False
                head += data
            server.heads.append(head.decode())
            last[0] = next(left, last[0])
            reply = last[0]
            if callable(reply):
                reply(connection)
                return False
            connection.sendall(reply)
            return keep_alive

        under_way: list[socket.socket] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    server.connections += 1
                    under_way[:] = [connection]
                    with connection, suppress(OSError):
                        connection.sendall(greeting)
                        while serve_one(connection):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            with suppress(OSError, IndexError):
                under_way[-1].shutdown(socket.SHUT_RDWR)
            thread.join()


@asynccontextmanager
async def judging(judge: Callable[[str], Awaitable[bytes]], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Answers many requests at once, in the running event loop, each with what `judge` makes of its head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                server.heads.append(head)
                length = next((line[15:] for line in head.split("\r\n") if line.startswith("Content-Length:")), "0")
                await reader.readexactly(int(length))
                writer.write(await judge(head))
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server = Server(listener.sockets[0].getsockname()[1])
    async with listener:
        yield server
    await asyncio.sleep(0)


def unused_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
