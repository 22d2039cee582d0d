"""How kernels are compiled: floats as IEEE says, sums in their order; no reference counting, which would cost several
times the work on a state of many arrays. So kernels allocate nothing.

Only entry points (`cached`) are kept on disk. numba keys them by their own file alone; one that calls kernels of other
files takes `digest_of` these files into its cache key by using it as a closure variable.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
_INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_ENTRY: dict[str, Any] = OPTIONS | {"nogil": True, "cache": True}
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """`function` as machine code for other kernels to call; Python can't call it (but its `py_func`)."""
    return cast(Function, numba.njit(**_INNER)(function))


def inlined(function: Function) -> Function:
    """As `compiled`, put into its caller: a call hands over all arrays of a state, which can cost more than the kernel.

    For what every row goes through; elsewhere it would only lengthen compiling.
    """
    return cast(Function, numba.njit(forceinline=True, **_INNER)(function))


def shared(function: Function) -> Function:
    """`function` as machine code for other kernels, and for Python where one of them is run uncompiled."""
    return cast(Function, numba.njit(**OPTIONS)(function))


def cached(function: Function) -> Function:
    """`function` as machine code that Python calls without the GIL, kept on disk, compiled when first called."""
    return cast(Function, numba.njit(**_ENTRY)(function))


def brief(function: Function) -> Function:
    """As `cached`, with the GIL kept: for few microseconds, giving it up costs a busy process more than it saves."""
    return cast(Function, numba.njit(**(_ENTRY | {"nogil": False}))(function))


def digest_of(*files: Path) -> int:
    """56 bits that change with any of the files, and with how kernels are compiled."""
    sources = b"".join(f.read_bytes() for f in (Path(__file__), *sorted(files)))
    return int.from_bytes(hashlib.sha256(sources).digest()[:7], "big")
