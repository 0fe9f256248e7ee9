"""Sends the demo's orders, one after another, and ends the service. Usage: orders.py PORT SECONDS_TO_WAIT"""
import json
import sys
import time
import urllib.error
import urllib.request

BASE = f"http://127.0.0.1:{sys.argv[1]}"
ORDERS = (
    ("an order as it should be", {"customer": "Ada", "item": "lamp", "quantity": 2}),
    ("the database refuses it", {"customer": "Bob", "item": "chair", "quantity": 0}),
    ("no label for an anvil: ship-label exits 3", {"customer": "Wile", "item": "anvil", "quantity": 1}),
    ("a slow one", {"customer": "Eve", "item": "desk", "quantity": 1, "slow": True}),
    ("not valid: no customer", {"item": "lamp", "quantity": 1}),
)


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(BASE + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=70) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as e:
        e.read()
        return e.code


def wait_ready(seconds):
    end = time.monotonic() + seconds
    while True:
        try:
            return ask("GET", "/openapi.json")
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"orders.py: the service did not answer within {seconds} s")
            time.sleep(0.1)


def main():
    wait_ready(float(sys.argv[2]))
    for what, order in ORDERS:
        status = ask("POST", "/orders", order)
        print(f"# POST /orders  {status}  {what}", file=sys.stderr, flush=True)
        time.sleep(0.3)
    for number, item, what in ((1, "lamp", "an agent writes a note, a label is printed"), (2, "anvil", "no label for an anvil, twice")):
        print(f"# POST /orders/{number}/fulfil  {ask('POST', f'/orders/{number}/fulfil?item={item}')}  {what}", file=sys.stderr, flush=True)
    for path in ("/orders/1", "/orders/999"):
        print(f"# GET {path}  {ask('GET', path)}", file=sys.stderr, flush=True)
    time.sleep(0.5)


if __name__ == "__main__":
    main()
