"""The smallest ASGI application, for uvicorn with TLS: /echo/N answers ok, /fail/N answers 500."""


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (event := await receive())["type"] != "lifespan.shutdown":
            await send({"type": event["type"] + ".complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    status = 500 if scope["path"].startswith("/fail") else 200
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
