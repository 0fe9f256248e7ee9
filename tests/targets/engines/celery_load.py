"""A task that does nothing, and `fill N`: so many messages for it in the Redis list «load»."""
import os
import sys

from celery import Celery

URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
app = Celery("celery_load", broker=URL, backend=URL)
app.conf.broker_connection_retry_on_startup = True


@app.task
def nothing(a, b):
    return a + b


if __name__ == "__main__":
    with app.producer_pool.acquire() as producer:
        for i in range(int(sys.argv[1])):
            nothing.apply_async((i, 1), queue="load", producer=producer)
