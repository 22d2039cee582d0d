"""A pre-trained ONNX file, opened once and checked against an arm: what goes in, what comes out, and that it answers.

A session is costly, and the server makes its arms anew for each snapshot; so what is opened is kept, by file, its time
of change and size, and shared: it has no state, and many threads may ask it. The sha256 is that of the very bytes
which the session was made from.
"""

import functools
import hashlib
import importlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from stream.block import F64, Block, Layout
from stream.errors import DataError
from stream.learn.onnx_feeds import FLOATS, WORDS, Planner
from stream.learn.onnx_words import words_of

OPENED_MAX = 32  # models kept open; one more closes the one that was not used for longest
PROBES = (0.0, 1.0, -1.0, 10.0, 100.0)  # rows full of these are asked before the model is trusted
SLACK = 1e-3  # a probability this far outside of 0 to 1 is float32's rounding; more is no probability
Level = Literal["none", "basic", "extended", "all"]


class OnnxParams(BaseModel):
    """What the file alone doesn't say.

    inputs: the model's names → columns, where they differ; output: which, if there are several of float; apply: what
    makes probabilities of raw outputs; missing: what stands for an absent number (none: NaN goes in); threads: of one
    call; level: of onnxruntime's graph optimisation; arena: whether it keeps the memory of one call for the next.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    inputs: dict[str, str] = Field(default_factory=dict)
    output: str | None = None
    apply: Literal["nothing", "sigmoid", "softmax"] = "nothing"
    missing: float | None = Field(default=None, allow_inf_nan=False)
    threads: int = Field(default=1, ge=1, le=64)
    level: Level = "all"
    arena: bool = True


def session_of(body: bytes, threads: int, level: Level, arena: bool = True) -> Any:
    """An onnxruntime session on the CPU. Raises what onnxruntime raises."""
    ort: Any = importlib.import_module("onnxruntime")  # loads in 0.3 s: only for those who ask
    names = {"none": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{names[level]}")
    options.enable_cpu_mem_arena = arena
    options.log_severity_level = 4  # what goes wrong is raised
    return ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])


class Refused(Exception):
    """The model can't be this arm's; `problems` are lines that begin with their place below the arm."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class OnnxModel:
    """An opened model for arms of one layout and task; classes: how many, at least 2. Raises Refused."""

    def __init__(
        self, path: Path, layout: Layout, task: str, classes: int, absent: tuple[str, ...], params: OnnxParams
    ) -> None:
        self._task, self._classes, self._apply = task, classes, params.apply
        try:
            body = path.read_bytes()
            self.sha256 = hashlib.sha256(body).hexdigest()
            self._session = session_of(body, params.threads, params.level, params.arena)
            inputs = self._session.get_inputs()
            strings = [i.name for i in inputs if i.type == WORDS]
            words = words_of(body, strings) if strings else ()
        except OSError as e:
            raise Refused([f"model: {path} can't be read: {e.strerror}"]) from None
        except DataError as e:
            raise Refused([f"model: {path}: {e}"]) from None
        except Exception as e:  # whatever onnxruntime raises is about the file
            raise Refused([f"model: {path}: onnxruntime refuses it: {_first_line(e)}"]) from None
        planner = Planner(layout, params.inputs, params.missing, words)
        self._feeds = planner.plan(inputs)
        self._output = self._pick(params.output, planner.problems)
        if planner.problems:
            raise Refused(planner.problems)
        self._probe(layout, absent)

    def _pick(self, wanted: str | None, problems: list[str]) -> str:
        outputs = self._session.get_outputs()
        fits = [o.name for o in outputs if o.type in FLOATS and wanted in (None, o.name)]
        if len(fits) == 1:
            return str(fits[0])
        shown = ", ".join(f"{o.name} ({o.type})" for o in outputs)
        hint = "; convert with `zipmap: False`" if any(o.type.startswith("seq(map") for o in outputs) else ""
        asked = f"params.output: found {wanted!r}" if wanted else f"model: {len(fits)} of its outputs are floats"
        problems.append(f"{asked}; the outputs are {shown}; `params.output` names one of floats{hint}")
        return ""

    def _probe(self, layout: Layout, absent: tuple[str, ...]) -> None:
        """Ask it rows of zeros, of other numbers, and one without what may be absent."""
        numeric = np.repeat(np.array([*PROBES, 0.0])[:, None], len(layout.numeric), axis=1)
        numeric[-1, [n in absent for n in layout.numeric]] = np.nan
        block = _rows(numeric, len(layout.categories))
        try:
            raw = self.run({name: x[:1] for name, x in self.feeds(block).items()})
        except Exception as e:  # onnxruntime's own
            raise Refused([f"model: it fails for a row of zeros: {_first_line(e)}"]) from None
        shapes = {"binary": [(1,), (1, 1), (1, 2)], "regression": [(1,), (1, 1)]}
        allowed = shapes.get(self._task, [(1, self._classes)])
        if raw.shape not in allowed:
            shown = " or ".join(str(["n", *s[1:]]).replace("'", "") for s in allowed)
            raise Refused([f"model: its output {self._output!r} is {list(raw.shape)} for one row; {shown} is wanted"])
        self._silence = np.zeros_like(raw)
        answers = self._values(block)
        if not np.isfinite(answers[0]).all():
            raise Refused([f"model: it answers a row of zeros with {answers[0]}; finite numbers are wanted"])
        if self._task != "regression" and np.nanmax(np.abs(answers - 0.5)) > 0.5 + SLACK:
            raise Refused(
                [
                    f"model: it answers {np.nanmin(answers):g} to {np.nanmax(answers):g}; probabilities are wanted; "
                    "`params.apply: sigmoid` (or softmax) makes them of raw outputs"
                ]
            )
        if not np.isfinite(answers[-1]).all():
            named = ", ".join(n for n in layout.numeric if n in absent) or "a category"
            raise Refused(
                [
                    f"model: it gives {answers[-1]} where {named} is absent; `params.missing: 0`, say, or the field's "
                    "`impute` stands in for what is absent; `required` refuses such events"
                ]
            )

    def feeds(self, block: Block) -> dict[str, NDArray[Any]]:
        """What its inputs are given of the block."""
        return {feed.name: feed.fill(block) for feed in self._feeds}

    @property
    def output(self) -> str:
        """The output that is read."""
        return self._output

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Its output as it comes. Raises what onnxruntime raises."""
        return np.asarray(self._session.run([self._output], feeds)[0])

    def _values(self, block: Block, single: bool = False) -> F64:
        """What it answers, float64[n] or [n, classes]; NaN for rows that onnxruntime fails on."""
        feeds = self.feeds(block)
        if not single:
            try:
                return self._read(self.run(feeds))
            except Exception:  # a row that it can't take; those around it can be answered
                pass
        names, ask, wanted = list(feeds), self._session.run, [self._output]
        raw, failed = [self._silence], [False]
        for row in zip(*([x[i : i + 1] for i in range(len(block))] for x in feeds.values()), strict=True):
            try:
                raw += ask(wanted, dict(zip(names, row, strict=True)))
                failed.append(False)
            except Exception:  # onnxruntime's own
                raw.append(self._silence)
                failed.append(True)
        out = self._read(np.concatenate(raw))
        out[failed] = np.nan
        return out[1:]

    def _read(self, raw: NDArray[Any]) -> F64:
        x = raw.astype(np.float64)
        if self._apply == "softmax":
            powers = np.exp(x - x.max(axis=-1, keepdims=True))
            x = powers / powers.sum(axis=-1, keepdims=True)
        elif self._apply == "sigmoid":
            x = 0.5 + 0.5 * np.tanh(0.5 * x)  # that of 1 / (1 + e^-x), without overflow
        if self._task == "classes":
            return x
        return np.ascontiguousarray(x[:, 1] if x.ndim == 2 and x.shape[1] == 2 else x.reshape(len(x)))

    def score(self, block: Block, single: bool = False) -> F64:
        """Scores as a Learner's: all rows in one call, or, `single`, one call each. Always finite.

        The last bits of a row may depend on those asked with it; one call each has them depend on the row alone.
        Where no finite answer comes the score is what says nothing: 0.5, equal shares, 0.
        """
        values = self._values(block, single)
        if self._task == "regression":
            return np.where(np.isfinite(values), values, 0.0)
        if self._task == "binary":
            return np.where(np.isfinite(values), np.clip(values, 0.0, 1.0), 0.5)
        shares = np.clip(values, 0.0, None)
        total = shares.sum(axis=1, keepdims=True)
        known = np.isfinite(total) & (total > 0)
        return np.where(known, shares / np.where(known, total, 1.0), 1.0 / self._classes)


def _first_line(e: Exception) -> str:
    lines = str(e).strip().splitlines()
    return lines[0][:300] if lines else type(e).__name__


def _rows(numeric: F64, categories: int) -> Block:
    n = len(numeric)
    zeros = np.zeros(n, np.int64)
    ids = np.zeros((n, categories), np.uint64)
    return Block("", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric, ids, np.zeros(0, np.uint64), zeros)


@functools.lru_cache(maxsize=OPENED_MAX)
def _kept(
    stamp: tuple[int, ...], path: Path, layout: Layout, task: str, classes: int, absent: tuple[str, ...], params: str
) -> OnnxModel:
    return OnnxModel(path, layout, task, classes, absent, OnnxParams.model_validate_json(params))


def opened(
    path: Path, layout: Layout, task: str, classes: int, absent: tuple[str, ...], params: OnnxParams
) -> OnnxModel:
    """The model in this file, opened now or before; absent: columns of numbers that an event may lack.

    Raises Refused.
    """
    try:
        found = path.stat()
    except OSError as e:
        raise Refused([f"model: {path} can't be read: {e.strerror}"]) from None
    stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
    return _kept(stamp, path, layout, task, classes, absent, params.model_dump_json())
