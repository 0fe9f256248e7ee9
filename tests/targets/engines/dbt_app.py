"""A dbt project with seeds, models (views, tables, an ephemeral one, parallel and in a chain), a snapshot, tests that pass, warn and
fail, a unit test, a model that fails at the database and one that does not compile, hooks, and `dbt retry`. The record is the
engine's own: run_results.json of each command."""
import glob
import json
import os
import pathlib
import sys

from dbt.cli.main import dbtRunner

ADAPTER = sys.argv[1]
FILES = {
    "dbt_project.yml": """
name: shop
version: "1.0"
profile: shop
on-run-start: ["select 1 as started"]
on-run-end: ["select 2 as ended"]
models: { shop: { +materialized: view } }
seeds: { shop: { +quote_columns: false } }
""",
    "seeds/orders.csv": "id,amount,customer\n1,10,ada\n2,20,bob\n3,30,ada\n",
    "models/clean.sql": "select id, amount, customer from {{ ref('orders') }}",
    "models/tmp.sql": "{{ config(materialized='ephemeral') }} select * from {{ ref('clean') }}",
    "models/big.sql": "{{ config(materialized='table') }} select * from {{ ref('tmp') }} where amount > 15",
    "models/totals.sql": "{{ config(materialized='incremental') }} select customer, sum(amount) as total from {{ ref('clean') }} group by 1",
    "models/slow.sql": "{{ config(materialized='table') }} " + ("select pg_sleep(0.2)::text as x" if ADAPTER == "postgres" else
                                                              "select count(*) as x from range(30000000) r(i) where i % 7 = hash(i) % 5"),
    "models/broken.sql": "select id, nosuch from {{ ref('clean') }}",
    "models/after_broken.sql": "select * from {{ ref('broken') }}",
    "models/uncompiled.sql": "{{ exceptions.raise_compiler_error('no such table here') if execute else '' }} select 1 as a",
    "snapshots/kept.sql": """{% snapshot kept %}{{ config(target_schema=target.schema, unique_key='id', strategy='check', check_cols=['amount']) }}
select * from {{ ref('orders') }}{% endsnapshot %}""",
    "tests/none_small.sql": "select * from {{ ref('big') }} where amount < 25",
    "models/schema.yml": """
models:
  - name: clean
    columns:
      - { name: id, data_tests: [ unique, not_null ] }
      - { name: customer, data_tests: [ { accepted_values: { arguments: { values: [ ada ] }, config: { severity: warn } } } ] }
  - name: big
    columns: [ { name: id, data_tests: [ not_null ] } ]
unit_tests:
  - name: totals_add_up
    model: totals
    overrides: { macros: { is_incremental: false } }
    given: [ { input: ref('clean'), rows: [ { customer: ada, amount: 1 }, { customer: ada, amount: 2 } ] } ]
    expect: { rows: [ { customer: ada, total: 3 } ] }
""",
    "profiles.yml": "shop: { target: dev, outputs: { dev: " + (
        "{ type: duckdb, path: shop.duckdb, threads: 3 }" if ADAPTER == "duckdb" else
        "{ type: postgres, host: 127.0.0.1, port: %s, user: postgres, password: x, dbname: postgres, schema: shop, threads: 3 }"
        % os.environ.get("PG_PORT")) + " } }\n",
}
KINDS = {"model": "task", "seed": "task", "snapshot": "task", "operation": "task", "test": "validation", "unit_test": "validation"}
record = []


def command(*argv):
    """One invocation; its results as entries under it."""
    ran = dbtRunner().invoke([*argv, "--quiet", "--no-use-colors", "--project-dir", "shop", "--profiles-dir", "shop"])
    results = json.loads(pathlib.Path("shop/target/run_results.json").read_text())
    run = results["metadata"]["invocation_id"]
    record.append({"key": run, "name": f"dbt {argv[0]}", "parent": None, "success": ran.success})
    for r in results["results"]:
        kind, _, rest = r["unique_id"].partition(".")
        record.append({"key": f"{run} {r['unique_id']}", "parent": run, "status": r["status"], "failures": r["failures"], "kind": kind,
                       "rows": r["adapter_response"].get("rows_affected"), "message": r["message"], "type": KINDS[kind],
                       "seconds": r["execution_time"], "id": r["unique_id"],
                       "timing": {t["name"]: [t["started_at"], t["completed_at"]] for t in r["timing"]}})


def main():
    for name, text in FILES.items():
        path = pathlib.Path("shop") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    command("build")
    path = pathlib.Path("shop/models/broken.sql")
    path.write_text(path.read_text().replace("nosuch", "amount"))
    command("retry")
    command("test", "--select", "clean")
    json.dump(record, open(os.environ["ENGINE_RECORD"], "w"))


if __name__ == "__main__":
    main()
