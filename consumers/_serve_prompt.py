"""Calls that can be answered at once are answered by the thread that receives them, with no other thread woken.

grpcio hands each call to a pool, whose thread asks for the message and sleeps until the receiving thread has it: three
times a thread is woken, and waits for the interpreter, which costs a small call more than all the rest. Here the
receiving thread asks for the message, and once it has it, asks `prompt` of the method; what that leaves (None, or an
exception) goes to the pool, message in hand. For this, names inside of grpcio are used; where they are not what is
known here, every call goes to the pool as grpcio would have it (`able`). Invariant: a call is answered once, by one of
the two.
"""

import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from grpc import _server as inside

from consumers._serve_pool import Pool, Task, nothing

log = structlog.get_logger()
Prompt = Callable[[bytes], bytes | None]
"""The answer to a message if it can be had at once; what it takes, every other call waits."""
_SEVEN = (
    "rpc_event", "state", "behavior", "argument_thunk", "request_deserializer", "response_serializer",
)  # fmt: skip
_RECEIVED = "receive_message"


def _is_known() -> bool:
    """Whether grpcio is inside as this module takes it to be."""
    try:
        return (
            tuple(inspect.signature(inside._unary_response_in_pool).parameters) == _SEVEN
            and tuple(inspect.signature(inside._status).parameters) == ("rpc_event", "state", "serialized_response")
            and tuple(inspect.signature(inside._possibly_finish_call).parameters) == ("state", "token")
            and tuple(inspect.signature(inside._abort).parameters) == ("state", "call", "code", "details")
            and inside._RECEIVE_MESSAGE_TOKEN == _RECEIVED
            and callable(inside.cygrpc.ReceiveMessageOperation)
        )
    except (AttributeError, TypeError, ValueError):
        return False


able = _is_known()
"""Whether calls are answered this way at all."""


def prompt_method(method: Callable[[Any, Any], Any], prompt: Prompt) -> Callable[[Any, Any], Any]:
    """The handler `method`, from bytes to bytes, whose calls a PromptPool offers to `prompt` first."""

    def run(request: Any, context: Any) -> Any:
        return method(request, context)

    run.prompt = prompt  # type: ignore[attr-defined]
    return run


class PromptPool(Pool):
    """A Pool whose calls are answered before they need one of its threads, where that can be."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """See Pool."""
        if able and len(args) == 1 + len(_SEVEN) and args[0] is inside._unary_response_in_pool:
            prompt = getattr(args[3], "prompt", None)
            if prompt is not None:
                return self._ask(prompt, fn, args)
        return super().submit(fn, *args, **kwargs)

    def _ask(self, prompt: Prompt, fn: Callable[..., Any], args: tuple[Any, ...]) -> "Future[Any]":
        """Ask gRPC for the message; grpcio holds the condition of the call's state."""
        self._count()
        respond, event, state, method, _, *rest = args
        task = Task(nothing, ())

        def came(found: Any) -> Any:
            body = found.batch_operations[0].message()
            if body is None:
                _no_message(event, state)
                self._end(task)
            elif _if_wanted(state, body) is None:
                self._end(task)
            else:
                answer = _tried(prompt, body)
                if answer is None:
                    task.function, task.args = (
                        fn,
                        (respond, event, state, method, lambda: _if_wanted(state, body), *rest),
                    )
                    self._put(task)
                else:
                    inside._status(event, state, answer)
                    self._end(task)
            with state.condition:
                return inside._possibly_finish_call(state, _RECEIVED)

        event.call.start_server_batch((inside.cygrpc.ReceiveMessageOperation(0),), came)
        state.due.add(_RECEIVED)
        return task  # type: ignore[return-value]


def _tried(prompt: Prompt, body: bytes) -> bytes | None:
    try:
        return prompt(body)
    except Exception:
        log.debug("not answered at once", exc_info=True)  # the pool's way meets it again, and tells the caller
        return None


def _if_wanted(state: Any, body: bytes) -> bytes | None:
    """The message, unless nobody waits for an answer any more."""
    with state.condition:
        return body if inside._is_rpc_state_active(state) else None


def _no_message(event: Any, state: Any) -> None:
    """As grpcio ends such a call; one that was cancelled is over already."""
    with state.condition:
        if state.client is inside._OPEN:
            state.client = inside._CLOSED
        inside._abort(
            state, event.call, inside.cygrpc.StatusCode.unimplemented,
            f'"{event.call_details.method.decode()}" requires exactly one request message.'.encode(),
        )  # fmt: skip
