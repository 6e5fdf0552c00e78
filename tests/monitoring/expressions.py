"""Asks a Prometheus for every expression of a dashboard until each has returned data, and for every metric the rules name.

    expressions.py URL DASHBOARD RULES
"""

import json
import math
import re
import sys
import time
import urllib.parse
import urllib.request

PATIENCE_S = 240
# Metrics of rules that a healthy process outside a container does not have: its limit of memory, and what only an event brings.
ELSEWHERE = {"foreshock_memory_bytes", "foreshock_memory_limit_bytes"}

url, dashboard, rules = sys.argv[1], json.load(open(sys.argv[2])), open(sys.argv[3]).read()


def query(expression):
    at = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(at, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def has_data(expression):
    return any(not math.isnan(float(sample["value"][1])) for sample in query(expression))


wanted = {target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])}
# Annotations are empty while nothing happens: their metric must be there.
names = set(re.findall(r"\b(?:foreshock|process)_[a-z_]+", rules + json.dumps(dashboard["annotations"]))) - ELSEWHERE
wanted |= {f'count({{__name__="{name}"}})' for name in names}

missing, deadline = set(wanted), time.monotonic() + PATIENCE_S
while missing and time.monotonic() < deadline:
    time.sleep(2)
    try:
        missing = {expression for expression in missing if not has_data(expression)}
    except OSError:
        continue
for expression in sorted(missing):
    print(f"no data: {expression}", file=sys.stderr)
print(f"{len(wanted) - len(missing)} of {len(wanted)} expressions have data")
sys.exit(bool(missing))
