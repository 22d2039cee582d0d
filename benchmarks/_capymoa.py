"""CapyMOA's trees (MOA's, in Java) on the same rows, in its Python loop and in its fastest own mode. Optional."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rows import Rows
from benchmarks._run import Run, now, since
from stream.block import F64


def tree(schema: Any) -> Any:
    """MOA's Hoeffding tree with its defaults."""
    from capymoa.classifier import HoeffdingTree

    return HoeffdingTree(schema=schema)


def adaptive_tree(schema: Any) -> Any:
    """MOA's Hoeffding adaptive tree with its defaults."""
    from capymoa.classifier import HoeffdingAdaptiveTree

    return HoeffdingAdaptiveTree(schema=schema)


def forest(schema: Any) -> Any:
    """MOA's adaptive random forest, ten trees, one thread."""
    from capymoa.classifier import AdaptiveRandomForestClassifier

    return AdaptiveRandomForestClassifier(schema=schema, ensemble_size=10, number_of_jobs=1, random_seed=1)


def binary_forest(schema: Any) -> Any:
    """The same forest of trees that split in two alone, which CapyMOA offers by MOA's own words (`-b`)."""
    from capymoa.base import MOAClassifier
    from moa.classifiers.meta import AdaptiveRandomForest

    words = (
        "-l (ARFHoeffdingTree -e 2000000 -g 50 -c 0.01 -b) -s 10 -o (Percentage (M * (m / 100))) -m 60 -a 6.0 "
        "-x (ADWINChangeDetector -a 0.001) -p (ADWINChangeDetector -a 0.01) -j 1"
    )
    return MOAClassifier(schema=schema, CLI=words, random_seed=1, moa_learner=AdaptiveRandomForest())


def capymoa(make: Callable[[Any], Any], python_loop: bool) -> Callable[[Rows], Run]:
    """python_loop: predict, then train, from Python, instances made before; else MOA's own prequential loop in Java,
    over instances that it holds in memory (`prequential_evaluation`, optimised)."""

    def prepare(rows: Rows) -> Run:
        held, instances = _held(rows)

        def java() -> tuple[float, F64 | None]:
            from capymoa.evaluation import prequential_evaluation

            learner = make(held.get_schema())
            begin = now()
            found = prequential_evaluation(held, learner, window_size=len(rows), store_predictions=True)
            seconds = since(begin)
            return seconds / len(rows), _scores(np.array(found.predictions()), rows)

        def python() -> tuple[float, F64 | None]:
            learner = make(held.get_schema())
            guesses = np.full(len(rows), -1)
            begin = now()
            for i, instance in enumerate(instances):
                guess = learner.predict(instance)
                guesses[i] = -1 if guess is None else guess
                learner.train(instance)
            return since(begin) / len(rows), _scores(guesses, rows)

        return python if python_loop else java

    return prepare


def _scores(guesses: Any, rows: Rows) -> F64:
    """A guessed class as a certain one."""
    wide = np.zeros((len(rows), rows.classes))
    known = (guesses >= 0) & (guesses < rows.classes)
    wide[known, guesses[known].astype(int)] = 1.0
    return np.ascontiguousarray(wide[:, 1]) if rows.classes == 2 else wide


class _Held:
    """What CapyMOA's fast evaluation asks of a stream, over instances that MOA holds in memory."""

    def __init__(self, instances: Any, schema: Any) -> None:
        from moa.streams import CachedInstancesStream

        self.moa_stream, self._schema = CachedInstancesStream(instances), schema

    def get_moa_stream(self) -> Any:
        """The Java stream."""
        return self.moa_stream

    def get_schema(self) -> Any:
        """Names and values of the attributes."""
        return self._schema

    def restart(self) -> None:
        """From the first row again."""
        self.moa_stream.restart()


def _held(rows: Rows) -> tuple[_Held, list[Any]]:
    """All rows twice: as MOA's stream, and as CapyMOA's instances."""
    import capymoa.env  # noqa: F401 - fails early where it is not installed
    from capymoa.stream import ARFFStream
    from com.yahoo.labs.samoa.instances import Instances

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.arff"
        path.write_text(_arff(rows))
        file = ARFFStream(path)
        instances = [file.next_instance() for _ in range(len(rows))]
    kept = Instances(file.get_moa_stream().getHeader(), 0)
    for instance in instances:
        kept.add(instance.java_instance.getData())
    return _Held(kept, file.get_schema()), instances


def _arff(rows: Rows) -> str:
    lines = ["@relation rows", *(f"@attribute '{n}' numeric" for n in rows.layout.numeric)]
    for i, name in enumerate(rows.text_names):
        values = sorted({v for v in rows.texts[:, i].tolist() if v is not None})
        lines.append(f"@attribute '{name}' {{{','.join(map(repr, values))}}}")
    lines += [f"@attribute class {{{','.join(map(str, range(rows.classes)))}}}", "@data"]
    for numbers, texts, y in zip(rows.block.numeric.tolist(), rows.texts.tolist(), rows.label.tolist(), strict=True):
        cells = ["?" if v != v else repr(v) for v in numbers] + ["?" if v is None else repr(v) for v in texts]
        lines.append(",".join([*cells, str(int(y))]))
    return "\n".join(lines) + "\n"
