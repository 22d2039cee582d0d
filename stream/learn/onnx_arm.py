"""A pre-trained ONNX file as an arm: it scores and never learns. docs/onnx.md has the contract of inputs and outputs.

Its state is the file's name and sha256, so a snapshot knows which file its metrics are of, and a changed file is
refused. Invariant as for every learner: what it adds to a pipeline's state depends on the rows alone, not on how they
were cut into blocks; hence rows of the training log go through the model one at a time.
"""

from pathlib import Path

from stream.block import F64, Block, Layout
from stream.errors import DataError, SnapshotError
from stream.learn.learner import State
from stream.learn.onnx_model import OnnxModel, OnnxParams, Refused, opened
from stream.learn.view import view_of
from stream.spec import FieldSpec, Spec

_VERSION = 1


def onnx_problems(spec: Spec, arm: str, params: OnnxParams) -> list[str]:
    """Why the file can't be this arm's model; each line starts with its place below the arm."""
    try:
        OnnxArm(view_of(spec, arm).layout, spec, params)
    except DataError as e:
        cause = e.__cause__
        return cause.problems if isinstance(cause, Refused) else [f"model: {e}"]
    return []


class OnnxArm:
    """Wraps one ONNX file. Raises DataError when it can't be opened, or doesn't fit."""

    def __init__(self, layout: Layout, spec: Spec, params: OnnxParams) -> None:
        self._file = params.name
        self._model = model_of(spec.folder / params.name, layout, spec, params)

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner; nothing is learned."""
        return self._model.score(block, single=True)

    def score(self, block: Block) -> F64:
        """See Learner."""
        return self._model.score(block)

    def state(self) -> State:
        """See Learner."""
        return State({}, {"kind": "onnx", "version": _VERSION, "file": self._file, "sha256": self._model.sha256})

    def restore(self, state: State) -> None:
        """See Learner. Raises SnapshotError when the state is of another file, or of other content."""
        own = self.state()
        if state.meta != own.meta:
            raise SnapshotError(
                f"{self._file}: its sha256 is {own.meta['sha256']}; the snapshot was made with "
                f"{state.meta.get('file')}, sha256 {state.meta.get('sha256')}; put that file back, or start a new "
                "pipeline with the new one"
            )

    def finite(self) -> bool:
        """See Learner."""
        return True


def model_of(path: Path, layout: Layout, spec: Spec, params: OnnxParams) -> OnnxModel:
    """The file's model, held to what an arm of this layout is given. Raises DataError when it doesn't fit."""
    absent = tuple(n for n in layout.numeric if not _always(spec.event.fields.get(n.partition(".")[0])))
    try:
        return opened(path, layout, spec.task, max(2, len(spec.classes)), absent, params)
    except Refused as e:
        raise DataError(str(e)) from e


def _always(field: FieldSpec | None) -> bool:
    """Whether cleaning lets no event without the field's value through."""
    return field is not None and (field.required or field.impute is not None)
