"""Entropic optimal transport by POT, with uniform weights.

usage: python tests/parity/make_transport.py tests/parity/data/transport.json    (needs POT 0.9)
"""
import json
import sys

import numpy as np
import ot

if __name__ == "__main__":
    random = np.random.default_rng(0)
    cases = []
    for rows, columns, epsilon in [(3, 5, 0.5), (6, 4, 0.2), (1, 3, 0.2), (7, 7, 0.3)]:
        x, y = random.normal(size=(rows, 3)), random.normal(size=(columns, 3))
        cost = ot.dist(x, y, metric="euclidean")
        plan = ot.sinkhorn(np.full(rows, 1 / rows), np.full(columns, 1 / columns), cost, epsilon, method="sinkhorn_log",
                           numItermax=5000, stopThr=1e-12)
        cases.append(dict(x=x.tolist(), y=y.tolist(), epsilon=epsilon, cost=cost.tolist(), plan=plan.tolist()))
    with open(sys.argv[1], "w") as out:
        json.dump(cases, out, indent=1)
