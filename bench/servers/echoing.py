"""An ASGI application that answers what it was asked, with as many headers as a call's answer has."""

HEADERS = [
    (b"content-type", b"application/json"),
    (b"x-pushpoint-algorithm", b"bench/echo"),
    (b"x-pushpoint-commit", b"0123456789012345678901234567890123456789"),
    (b"x-pushpoint-version", b"0.1.0"),
    (b"x-request-id", b"req-00000000-0000-4000-8000-000000000000"),
]


async def application(scope, receive, send):
    """Answer one request; a server that asks for a lifespan is told that there is none."""
    if scope["type"] != "http":
        raise RuntimeError("this is for HTTP alone")
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message.get("body", b""), message.get("more_body", False)
    headers = [*HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
