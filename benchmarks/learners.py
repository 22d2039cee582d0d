"""The compiled learners against River, Vowpal Wabbit, scikit-learn and CapyMOA: events/s, ratio, accuracy.

    python -m benchmarks.learners [--short] [--json] [--only logistic|tree|forest|dicts|snapshot|growth]

Everybody scores each row, then learns it, in order, on the same rows in memory, in one run, alternately; medians of the
rounds. Seconds are wall or CPU time, whichever is less. One thread each (Vowpal Wabbit's parser has a second one, and
Java its compiler and collector). Flights come through the example spec's encoder; Agrawal is River's. Accuracy
is progressive, over the rows that the contender ran. The slow ones run over fewer rows, which is said beside them.

`pip install 'headwater[bench]'` brings the competitors; one that is missing has a row that says so.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from benchmarks import _capymoa, _growth, _others, _snapshots
from benchmarks._dicts import clean_encode_learn
from benchmarks._report import Row, report
from benchmarks._river import Sparse, adaptive_forest, hoeffding, pipeline, river, sparse, whole
from benchmarks._rows import MANY_VALUES, Rows, agrawal, flights
from benchmarks._run import Contender, Outcome, accuracy, compete, ours

FULL, SHORT = 20_000, 1_500
# What stands beside CapyMOA's: a tree with its delta, which River's has not, and finer cuts; and a forest that draws as
# many attributes as its does, whose trees split in two alone, which makes both forests better
TREE_BESIDE_CAPYMOA = "ours, tree.hoeffding, delta 0.001, 20 cuts"
FOREST_BESIDE_CAPYMOA = "ours, forest.adaptive, binary splits, 0.6 of the attributes"
BESIDE_CAPYMOA = (TREE_BESIDE_CAPYMOA, FOREST_BESIDE_CAPYMOA)
GOALS = {"River": {"logistic": 500, "tree": 100, "forest": 50}, "Vowpal Wabbit": 10, "CapyMOA": 10}
Told = Callable[[str], Any]


def logistic(rows: int) -> list[Contender]:
    """All that learn one linear model. The first is ours."""
    few = rows // 10
    return [
        Contender("ours, linear.logistic", ours("linear.logistic", lr=0.02), rows),
        Contender("River, fastest (sparse dicts)", river(lambda _: Sparse(), sparse), rows),
        Contender("River, as its users write it (OneHotEncoder)", river(pipeline, whole), few),
        Contender("Vowpal Wabbit, cached file", _others.vowpal(), rows),
        Contender("Vowpal Wabbit, cached file, --sgd", _others.vowpal("--sgd"), rows),
        Contender("scikit-learn SGDClassifier, 1 row", _others.sgd(1), few // 2),
        Contender("scikit-learn SGDClassifier, 256 rows", _others.sgd(256), rows),
    ]


def tree(rows: int) -> list[Contender]:
    """Hoeffding trees."""
    return [
        Contender("ours, tree.hoeffding", ours("tree.hoeffding"), rows),
        Contender(TREE_BESIDE_CAPYMOA, ours("tree.hoeffding", delta=1e-3, n_splits=20), rows),
        Contender("River, HoeffdingTreeClassifier", river(hoeffding, whole), rows),
        Contender("CapyMOA, HoeffdingTree, Python loop", _capymoa.capymoa(_capymoa.tree, True), rows),
        Contender("CapyMOA, HoeffdingTree, Java loop", _capymoa.capymoa(_capymoa.tree, False), rows),
    ]


def forest(rows: int) -> list[Contender]:
    """Adaptive random forests of ten trees."""
    ten = {"n_models": 10, "n_jobs": 1}
    return [
        Contender("ours, forest.adaptive", ours("forest.adaptive", **ten), rows),
        Contender(FOREST_BESIDE_CAPYMOA, ours("forest.adaptive", binary_split=True, max_features=0.6, **ten), rows),
        Contender("River, ARFClassifier", river(adaptive_forest, whole), rows // 5),
        Contender("CapyMOA, ARF, Python loop", _capymoa.capymoa(_capymoa.forest, True), rows // 5),
        Contender("CapyMOA, ARF, Java loop", _capymoa.capymoa(_capymoa.forest, False), rows),
        Contender("CapyMOA, ARF, binary splits, Java loop", _capymoa.capymoa(_capymoa.binary_forest, False), rows),
    ]


def from_dicts(rows: int) -> list[Contender]:
    """From raw events, as dicts: whatever it takes to make features of them counts."""
    return [
        Contender("ours, clean + encode + learn", clean_encode_learn, rows),
        Contender("River, sparse dicts, made and learned", river(lambda _: Sparse(), sparse, encode=True), rows),
        Contender("River, OneHotEncoder, made and learned", river(pipeline, whole, encode=True), rows // 10),
        Contender("Vowpal Wabbit, lines from Python", _others.vowpal_lines(), rows),
        Contender("scikit-learn, hashed, 256 rows", _others.sgd(256, encode=True), rows),
    ]


GROUPS: dict[str, Callable[[int], list[Contender]]] = {"logistic": logistic, "tree": tree, "forest": forest}


def table(group: str, contenders: list[Contender], rows: Rows, rounds: int, told: Told) -> list[Row]:
    """Rate, ratio and accuracy of each; the ratio's goal where there is one."""
    outcomes = compete(contenders, rows, rounds, told)
    first = f"{rows.name}, {group}: "
    lines = []
    for outcome in outcomes:
        at = f" [first {outcome.rows:,} rows]" if outcome.rows < len(rows) else ""
        if outcome.missing:
            lines.append(Row(f"{first}{outcome.name}: not run ({outcome.missing})", 0.0, ""))
            continue
        lines.append(Row(f"{first}{outcome.name}{at}", outcome.rate, "events/s"))
        if outcome.scores is not None:
            lines.append(Row(f"{first}{outcome.name}, accuracy", accuracy(outcome.scores, rows.label), "%"))
    mine = outcomes[0]
    if mine.missing or group == "dicts":
        return lines + [Row(f"{first}ours / {o.name}", mine.over(o), "×") for o in outcomes[1:] if not o.missing]
    beside = next((o for o in outcomes if o.name in BESIDE_CAPYMOA and not o.missing), mine)
    for other in outcomes[1:]:
        if not other.missing and other is not beside:
            lines += _against(first, beside if other.name.startswith("CapyMOA") else mine, other, group, rows)
    return lines


def _against(first: str, mine: Outcome, other: Outcome, group: str, rows: Rows) -> list[Row]:
    goal: Any = next((g for name, g in GOALS.items() if other.name.startswith(name)), None)
    goal = goal[group] if isinstance(goal, dict) else goal
    lines = [Row(f"{first}ours / {other.name}", mine.over(other), "×", goal=goal)]
    if other.scores is not None and mine.scores is not None:
        n = other.rows
        more = accuracy(mine.scores[:n], rows.label) - accuracy(other.scores, rows.label)
        lines.append(Row(f"{first}accuracy, ours less {other.name}", more, "points", goal=-0.01))
    return lines


def figures(only: str | None, short: bool, told: Told) -> list[Row]:
    """All tables, one after the other."""
    size, rounds = (SHORT, 3) if short else (FULL, 5)
    lines: list[Row] = []
    streams = [flights(size), agrawal(size)] if only in (None, "dicts", "snapshot", *GROUPS) else []
    for group, contenders in GROUPS.items():
        for rows in streams if only in (None, group) else []:
            small = size if group != "forest" or not short else size // 2
            seen = rows if group == "logistic" else rows.without(*MANY_VALUES)
            lines += table(group, contenders(small), seen.head(small), rounds, told)
    if only in (None, "dicts"):
        lines += table("dicts", from_dicts(size), streams[0], rounds, told)
    if only in (None, "snapshot"):
        lines += _snapshots.rows(streams[0].without(*MANY_VALUES), short, told)
    if only in (None, "growth"):
        lines += _growth.rows(short, told)
    return lines


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer rows, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", choices=[*GROUPS, "dicts", "snapshot", "growth"], help="one table")
    given = parser.parse_args()
    lines = figures(given.only, given.short, lambda line: print(line, file=sys.stderr))
    size = SHORT if given.short else FULL
    return report(f"{size:,} rows of each stream, alternately, medians", lines, given.json)


if __name__ == "__main__":
    sys.exit(main())
