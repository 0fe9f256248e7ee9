"""Feast against its own registry and what it gave back: materialisation at once and incremental, retrieval sync, async and failing."""
from support import engine
from support.harness import test


@test("engine/feast", limit=300)
def features(case):
    """Each interval of the registry once, under its run; each retrieval with the read of each view."""
    run = engine.Run(case, "feast", "feast_app.py")
    views = {f"{s['feast.feature_view']} {s['feast.start']} {s['feast.end']}": s for s in run.spans.where(wftrace__activity__type="task")}
    expected = {key for key, entry in run.record.items() if "view" in entry}
    assert views.keys() == expected, f"{sorted(views)} are not {sorted(expected)}"
    parents = sorted((s["feast.feature_view"], run.spans.parent(s).name) for s in views.values())
    assert parents == [("orders", "feast.materialize"), ("orders", "feast.materialize_incremental"), ("returns", "feast.materialize")], parents
    for s in run.spans.where(name="feast.materialize"):
        for view in run.spans.children(s):
            if view["wftrace.activity.type"] == "task":
                wrote = [w for w in run.spans if w.name == f"{view['feast.feature_view']}.write" and view in run.spans.ancestors(w)]
                assert sum(w["feast.rows"] for w in wrote) == 3, wrote
    retrievals = sorted((s for s in run.spans if s.name == "feast.get_online_features"), key=lambda s: s.start)
    told = [run.record[f"retrieval {n}"] for n in (1, 2, 3)]
    assert len(retrievals) == 3, retrievals
    for s, entry in zip(retrievals, told):
        reads = sorted(r["feast.feature_view"] for r in run.spans if r.name.endswith(".read") and s in run.spans.ancestors(r))
        assert (s["feast.entities"], reads, s["error.type"]) == (entry["rows"], entry["views"], entry["error"]), (s.attrs, reads, entry)
    case.note(f"{len(expected)} intervals of the registry and {len(told)} retrievals: 0 missing, 0 invented, 0 under a wrong parent")
