"""River's own adaptive forest over ten seeds, kept for the tests: `python -m tests.equivalence._forest_seeds`.

Writes tests/golden/forest_seeds.json: for each stream, progressive accuracy (ten trees, River's defaults) by seed.
"""

import json
import sys
from pathlib import Path

from river import forest

from tests.equivalence.forests import Rows, clusters, drifting

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "forest_seeds.json"
ROWS = 4000
SEEDS = range(10)
STREAMS = {"agrawal, drifting": drifting, "rbf, drifting": clusters}


def accuracy(rows: Rows, seed: int) -> float:
    """Share of rows that River's forest names right before it learns them."""
    model = forest.ARFClassifier(seed=seed, nominal_attributes=rows.nominal())
    right = 0
    for x, y in zip(rows.dicts(), rows.target.tolist(), strict=True):
        right += model.predict_one(x) == y
        model.learn_one(x, y)
    return right / len(rows.target)


def main() -> int:
    """See the module."""
    found = {name: [accuracy(stream(ROWS), seed) for seed in SEEDS] for name, stream in STREAMS.items()}
    GOLDEN.write_text(json.dumps({"river": "0.26", "rows": ROWS, "accuracy": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
