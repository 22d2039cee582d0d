"""Estimators of other libraries, whose state can only be a pickle, which is code execution for whoever can write it.

So it must be asked for (`trust_pickle: true`), and a pickle is loaded only after its signature is checked with the
key in the environment variable HEADWATER_PICKLE_KEY; without the key an arm of this kind is refused.
"""

import copyreg
import hashlib
import hmac
import io
import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from stream.errors import SnapshotError
from stream.learn.learner import State

KEY_VARIABLE = "HEADWATER_PICKLE_KEY"


class ForeignParams(BaseModel):
    """name: dotted name below the library; scale: standardise the numbers; what a subclass doesn't name goes to the
    estimator."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    trust_pickle: bool = False
    scale: bool = False

    def problems(self, task: str) -> list[str]:
        """Why it can't be built for the task; empty when it can."""
        raise NotImplementedError

    def distrust(self, kind: str) -> list[str]:
        """Why no pickle may be kept; `kind` is the arm's, in words."""
        if not self.trust_pickle:
            return [f"{kind} is kept as a pickle; say `trust_pickle: true` to allow that"]
        if not os.environ.get(KEY_VARIABLE):
            return [f"{kind} needs a secret in {KEY_VARIABLE} to sign its pickle with; it is not set"]
        return []


def _array(dtype: str, shape: tuple[int, ...], order: Any, body: bytes) -> NDArray[Any]:
    """An array as it was; pickles name this function, so it must stay."""
    return np.frombuffer(body, dtype).reshape(shape, order=order).copy(order)


def _array_parts(array: NDArray[Any]) -> Any:
    """What makes the array again, without the dtype object, which arrays share in ways that a restart changes."""
    if array.dtype.kind not in "biufc":
        return array.__reduce_ex__(5)
    order: Any = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return _array, (array.dtype.str, array.shape, order, array.tobytes(order))


def _scalar_parts(scalar: Any) -> Any:
    return type(scalar), (scalar.item(),)


_SCALARS = (np.float64, np.float32, np.int64, np.int32, np.bool_)


class _Pickler(pickle.Pickler):
    dispatch_table: dict[type, Callable[[Any], Any]] = {  # noqa: RUF012
        **copyreg.dispatch_table,
        np.ndarray: _array_parts,
        **dict.fromkeys(_SCALARS, _scalar_parts),
    }


def _pickle(held: Any) -> bytes:
    body = io.BytesIO()
    _Pickler(body, protocol=5).dump(held)
    return body.getvalue()


class Signer:
    """Makes an object a signed state and back, with the key that the environment has now."""

    def __init__(self, kind: str) -> None:
        self._kind, self._key = kind, os.environ.get(KEY_VARIABLE, "").encode()

    def _sign(self, body: bytes) -> str:
        return hmac.new(self._key, body, hashlib.sha256).hexdigest()

    def pack(self, held: Any) -> State:
        """The pickle and its HMAC-SHA256.

        A pickle also says which objects are shared in memory, which a restored object shares otherwise; so it is
        taken of a copy that was itself restored.
        """
        body = _pickle(pickle.loads(_pickle(held)))
        meta = {"kind": self._kind, "version": 1, "hmac": self._sign(body)}
        return State({"pickle": np.frombuffer(body, np.uint8).copy()}, meta)

    def unpack(self, state: State) -> Any:
        """The object. Raises SnapshotError when the signature does not fit; nothing is opened then."""
        body = state.arrays["pickle"].tobytes()
        if not self._key or not hmac.compare_digest(self._sign(body), str(state.meta.get("hmac", ""))):
            raise SnapshotError(f"the pickle of this {self._kind} arm isn't signed with {KEY_VARIABLE}; not loaded")
        return pickle.loads(body)
