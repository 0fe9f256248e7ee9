"""The DAGs of airflow_app.py, for Airflow 3 and 2.10: parallel and mapped tasks, branches, short circuits, a retry, a deferral, a skip,
failures, a task that is killed (3)."""
import os
import signal
import time
import urllib.request
from datetime import datetime, timedelta

import airflow

if airflow.__version__ >= "3":
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
    from airflow.sdk import DAG, BaseOperator, task
else:
    from airflow import DAG
    from airflow.models.baseoperator import BaseOperator
    from airflow.decorators import task
    from airflow.operators.bash import BashOperator
    from airflow.operators.empty import EmptyOperator
    from airflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
try:
    from airflow.sdk.exceptions import AirflowSkipException
except ImportError:  # 3.0, 3.1
    from airflow.exceptions import AirflowSkipException
from airflow.triggers.testing import SuccessTrigger


def ask():
    urllib.request.urlopen(os.environ["SHOP_URL"]).read()


def work(n):
    time.sleep(0.2)


def flaky(ti):
    if ti.try_number == 1:
        raise ConnectionError("no line")


def boom():
    raise ValueError("no such order")


def skip():
    raise AirflowSkipException("nothing to do")


class Wait(BaseOperator):
    """Defers once; what it waits for is told by the program itself, as the triggerer would."""

    def execute(self, context):
        self.defer(trigger=SuccessTrigger(), method_name="resume")

    def resume(self, context, event=None):
        return event


common = dict(schedule=None, start_date=datetime(2024, 1, 1), catchup=False, is_paused_upon_creation=False)

with DAG("shop", **common):
    fetch = PythonOperator(task_id="fetch", python_callable=ask)
    choose = BranchPythonOperator(task_id="choose", python_callable=lambda: "big")
    big = BashOperator(task_id="big", bash_command="sleep 0.2; echo done")
    small = BashOperator(task_id="small", bash_command="true")
    each = PythonOperator.partial(task_id="each", python_callable=work).expand(op_args=[[1], [2]])
    again = PythonOperator(task_id="again", python_callable=flaky, retries=1, retry_delay=timedelta(seconds=0.1))
    wait = Wait(task_id="wait")
    nothing = PythonOperator(task_id="nothing", python_callable=skip)
    bad = BashOperator(task_id="bad", bash_command="exit 3")
    after = BashOperator(task_id="after", bash_command="true")
    fetch >> choose >> [big, small]
    bad >> after

with DAG("stock", **common):
    PythonOperator(task_id="count", python_callable=work, op_args=[1]) >> BashOperator(task_id="tell", bash_command="true")
    ShortCircuitOperator(task_id="enough", python_callable=lambda: False) >> BashOperator(task_id="order", bash_command="true")
    if os.environ.get("SHOP_BROKEN"):
        PythonOperator(task_id="boom", python_callable=boom)

with DAG("ways", **common):
    @task.branch
    def side():
        return "left"

    @task.branch
    def more():
        return ["down", "up"]

    @task.branch
    def one():
        return ["in"]

    @task.branch
    def nowhere():
        return None

    @task.short_circuit
    def open_shop():
        return True

    @task.short_circuit
    def in_stock():
        return ["tea", "coffee"]  # as good as True, and nobody's business

    @task.short_circuit
    def on_offer():
        return []

    for asked, ways in ((side, ("left", "right")), (more, ("up", "down", "aside")), (one, ("in", "out")), (nowhere, ("back", "forth")),
                        (open_shop, ("sell",)), (in_stock, ("ship",)), (on_offer, ("praise",))):
        asked() >> [EmptyOperator(task_id=way) for way in ways]

if airflow.__version__ >= "3":
    with DAG("lost", **common):
        PythonOperator(task_id="killed", python_callable=lambda: os.kill(os.getpid(), signal.SIGKILL))
