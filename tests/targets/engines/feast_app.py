"""Features materialised at once and incrementally, retrieved, and asked for in vain (sync and async). The record is the engine's own: the
intervals that its registry keeps of each feature view, and the rows that a retrieval gave back."""
import asyncio
import datetime
import json
import os

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float32, Int64

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
pd.DataFrame({"customer": [1, 2, 3], "total": [1.5, 2.5, 3.5], "event_timestamp": [NOW - 2 * DAY] * 3}).to_parquet("orders.parquet")
store = FeatureStore(config=RepoConfig(project="shop", provider="local", registry="registry.db", offline_store={"type": "dask"},
                                       online_store={"type": "sqlite", "path": "online.db"}, entity_key_serialization_version=3))
customer = Entity(name="customer", join_keys=["customer"])
views = [FeatureView(name=name, entities=[customer], ttl=30 * DAY, schema=[Field(name="customer", dtype=Int64), Field(name="total", dtype=Float32)],
                     source=FileSource(path="orders.parquet", timestamp_field="event_timestamp")) for name in ("orders", "returns")]
store.apply([customer, *views])
store.materialize(NOW - 5 * DAY, NOW - DAY)
store.materialize_incremental(NOW, feature_views=["orders"])
both = store.get_online_features(features=["orders:total", "returns:total"], entity_rows=[{"customer": 1}, {"customer": 2}],
                                 full_feature_names=True).to_dict()
errors = []
for ask in (lambda: asyncio.run(store.get_online_features_async(features=["orders:total"], entity_rows=[{"customer": 3}])),
            lambda: store.get_online_features(features=["nothing:total"], entity_rows=[{"customer": 1}])):
    try:
        ask()  # SQLite has no asynchronous read; there is no such view
    except Exception as e:
        module = type(e).__module__
        errors.append(type(e).__qualname__ if module == "builtins" else f"{module}.{type(e).__qualname__}")
record = [{"key": "retrieval 1", "rows": len(both["customer"]), "views": ["orders", "returns"], "error": None},
          {"key": "retrieval 2", "rows": 1, "views": ["orders"], "error": errors[0]},
          {"key": "retrieval 3", "rows": 1, "views": [], "error": errors[1]}]
for view in store.list_feature_views():
    for start, end in view.materialization_intervals:
        record.append({"key": f"{view.name} {start} {end}", "view": view.name})
json.dump(record, open(os.environ["ENGINE_RECORD"], "w"))
