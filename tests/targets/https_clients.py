"""HTTPS from Python four ways. Usage: https_clients.py requests|httpx|aiohttp|httpx-async BASE_URL CA_FILE COUNT"""
import asyncio
import ssl
import sys

kind, base, ca, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
urls = [f"{base}/{kind}/{i}" for i in range(count)]


def with_requests():
    import requests
    with requests.Session() as s:
        for u in urls:
            assert s.get(u, verify=ca).text == "ok"


def with_httpx():
    import httpx
    with httpx.Client(verify=ssl.create_default_context(cafile=ca)) as c:
        for u in urls:
            assert c.get(u).text == "ok"


async def with_aiohttp():
    import aiohttp
    async with aiohttp.ClientSession() as s:
        async def one(u):
            async with s.get(u, ssl=ssl.create_default_context(cafile=ca)) as r:
                assert await r.text() == "ok"
        await asyncio.gather(*map(one, urls))


async def with_httpx_async():
    import httpx
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=ca)) as c:
        answers = await asyncio.gather(*[c.get(u) for u in urls])
        assert all(r.text == "ok" for r in answers)


if kind == "requests":
    with_requests()
elif kind == "httpx":
    with_httpx()
elif kind == "aiohttp":
    asyncio.run(with_aiohttp())
else:
    asyncio.run(with_httpx_async())
print("done")
