#!/usr/bin/env python3
"""Checks that a JSON file of `tern bench` holds every figure: its shape, no empty cell, Tern and its peers.

    check_figures.py FILE
    check_figures.py --self-test

It judges presence and sanity, never speed: a machine that runs tests is no place for timings.
"""
import copy
import json
import math
import sys

TEXT = ("workload", "store")
COUNTS = ("keys", "value_bytes", "threads", "batch")
RATES = ("mops", "mops_min", "mops_max", "bytes_per_entry")
PERCENTILES = ("p50_ns", "p99_ns", "p999_ns", "p9999_ns")
WORKLOADS = ("get-uniform", "get-zipf", "get-miss", "ycsb-a", "ycsb-b", "fill")
PEERS_LEAST = 3


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def row_problems(row):
    where = f"{row.get('workload')}/{row.get('store')}/batch {row.get('batch')}"
    for key in TEXT:
        if not isinstance(row.get(key), str) or not row[key]:
            yield f"{where}: '{key}' is missing"
    for key in COUNTS + RATES + PERCENTILES:
        if not is_number(row.get(key)):
            yield f"{where}: '{key}' is {row.get(key)!r}, not a number"
        elif row[key] < 0 or (row[key] == 0 and key not in PERCENTILES):
            yield f"{where}: '{key}' is {row[key]}"
    if any(not is_number(row.get(key)) for key in RATES + PERCENTILES):
        return
    if not row["mops_min"] <= row["mops"] <= row["mops_max"]:
        yield f"{where}: the median lies outside its own spread"
    if [row[key] for key in PERCENTILES] != sorted(row[key] for key in PERCENTILES):
        yield f"{where}: percentiles fall"


def problems(document):
    for key, kind in (("machine", dict), ("commit", str), ("targets", list), ("results", list)):
        if not isinstance(document.get(key), kind) or (key != "targets" and not document[key]):
            yield f"'{key}' is missing, empty or of the wrong kind"
            return
    for error in document.get("errors", []):
        yield f"the run itself reports: {error}"
    rows = document["results"]
    for row in rows:
        yield from row_problems(row)
    for workload in WORKLOADS:
        stores = {row.get("store") for row in rows if row.get("workload") == workload and row.get("batch") == 1}
        if "tern" not in stores:
            yield f"{workload}: no row of tern with single calls"
        if len(stores - {"tern"}) < PEERS_LEAST:
            yield f"{workload}: {len(stores - {'tern'})} peers, at least {PEERS_LEAST} are due"
    if not any(row.get("store") == "tern" and is_number(row.get("batch")) and row["batch"] > 1 for row in rows):
        yield "no row of tern with calls on groups"
    for target in document["targets"]:
        if not target.get("id") or not is_number(target.get("value")):
            yield f"target {target.get('id')!r} has no value"


def self_test():
    def row(workload, store, batch):
        return dict(workload=workload, store=store, keys=1000, value_bytes=64, threads=1, batch=batch, mops=2.0,
                    mops_min=1.5, mops_max=2.5, p50_ns=100, p99_ns=200, p999_ns=300, p9999_ns=400, bytes_per_entry=140)

    stores = ("tern", "a", "b", "c")
    good = dict(machine={"cpu": "x"}, commit="0", targets=[{"id": "a", "value": 1.0}],
                results=[row(w, s, 1) for w in WORKLOADS for s in stores] + [row("get-uniform", "tern", 64)])
    assert not list(problems(good)), list(problems(good))

    def planted(change):
        bad = copy.deepcopy(good)
        change(bad)
        assert list(problems(bad)), "a planted fault was not found"

    planted(lambda d: d.pop("machine"))
    planted(lambda d: d.update(results=[]))
    planted(lambda d: d["results"][0].update(mops=0))
    planted(lambda d: d["results"][0].update(mops=float("nan")))
    planted(lambda d: d["results"][0].update(p99_ns=None))
    planted(lambda d: d["results"][0].update(p50_ns=1e9))
    planted(lambda d: d["results"][0].update(mops_min=2.2))
    planted(lambda d: d["results"].pop(0))
    planted(lambda d: d["results"].pop(1))
    planted(lambda d: d["results"].pop())
    planted(lambda d: d.update(errors=["a read was wrong"]))
    planted(lambda d: d["targets"][0].pop("value"))


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        sys.exit(0)
    with open(sys.argv[1], encoding="utf-8") as file:
        found = list(problems(json.load(file)))
    print("\n".join(found) if found else f"{sys.argv[1]}: every figure is there")
    sys.exit(1 if found else 0)
