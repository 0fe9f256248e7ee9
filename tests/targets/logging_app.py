"""FastAPI target: every usual way in which a service writes its log, each line with the id of its request.

The endpoint answers with the number of lines that it wrote. Nothing here knows of tracing."""
import asyncio
import concurrent.futures
import logging
import sys

import structlog
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
logging.getLogger("asyncio").setLevel(logging.WARNING)
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"),
                                structlog.processors.JSONRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stdout))
log, events = logging.getLogger("orders"), structlog.get_logger()
pool = concurrent.futures.ThreadPoolExecutor(4)
app = FastAPI(default_response_class=PlainTextResponse)


@app.get("/stdlib/{rid}")
async def stdlib(rid: str):
    log.info("begin %s", rid)
    await asyncio.sleep(0.002)
    log.warning("slow %s", rid)
    return "2"


@app.get("/structured/{rid}")
async def structured(rid: str):
    events.info("begin", rid=rid, items=3)
    await asyncio.sleep(0.001)
    events.error("end", rid=rid, customer={"id": 7})
    return "2"


@app.get("/printed/{rid}")
def printed(rid: str):
    print("begin", rid, flush=True)
    print(f"end {rid}", flush=True)
    return "2"


@app.get("/tasks/{rid}")
async def tasks(rid: str):
    async def one(n):
        await asyncio.sleep(0.001)
        log.info("part %d of %s", n, rid)
    await asyncio.gather(*[one(n) for n in range(3)])
    await asyncio.get_running_loop().run_in_executor(pool, log.debug, "offload %s", rid)
    return "4"


@app.get("/failing/{rid}")
async def failing(rid: str):
    try:
        {}["missing"]
    except KeyError:
        log.exception("failed %s", rid)
    return "1"


@app.get("/buffered/{rid}")
async def buffered(rid: str):
    print(f"kept back {rid}")
    return "1"
