"""The error tree: one exit code each, drawn as it is; messages for people; rejects are values of a closed list."""

import dataclasses
import inspect

import pytest

from stream import errors
from stream.arrive.reject import CODES, Reject
from stream.errors import HeadwaterError, SpecError
from stream.predict import refuse

ALL = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, HeadwaterError)]


def test_every_error_a_person_can_mend_has_an_exit_code_of_its_own() -> None:
    codes = {c.__name__: c.exit_code for c in ALL}
    assert len(set(codes.values())) == len(codes), codes
    assert all(0 < code < 126 for code in codes.values()), "0 is success; 126 and above are the shell's and signals'"
    assert all("exit_code" in vars(c) for c in ALL)


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.strip("│├└─ ").partition(" ")[0]
        if name.isidentifier() and name in vars(errors):
            drawn.append(name)
    assert sorted(drawn) == sorted(c.__name__ for c in ALL)
    for line in (errors.__doc__ or "").splitlines():
        name = line.strip("│├└─ ").partition(" ")[0]
        if name in drawn and name != "HeadwaterError":
            parent = "BrokerError" if line.startswith("│   ") else "HeadwaterError"
            assert vars(errors)[name].__base__.__name__ == parent


def test_a_spec_error_lists_every_problem_on_a_line() -> None:
    error = SpecError(["a: one", "b: two"], "flights.yaml")
    assert error.problems == ["a: one", "b: two"]
    assert str(error).splitlines() == ["flights.yaml: 2 problem(s)", "  a: one", "  b: two"]


def test_a_refused_request_is_an_error_with_a_reason() -> None:
    kinds = [c for _, c in inspect.getmembers(refuse, inspect.isclass) if issubclass(c, refuse.Refused)]
    assert len(kinds) > 1
    for kind in kinds:
        error = kind("some.reason", "what was given, what is allowed")
        assert (error.reason, str(error)) == ("some.reason", "what was given, what is allowed")
        assert isinstance(error, HeadwaterError)


def test_a_reject_is_a_frozen_value_of_a_listed_code() -> None:
    reject = Reject("event.no_id", "id: missing")
    assert reject == Reject("event.no_id", "id: missing")
    with pytest.raises(dataclasses.FrozenInstanceError):
        reject.code = "event.no_time"  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"'event\.odd' is not in CODES"):
        Reject("event.odd", "")


def test_codes_are_step_dot_reason_with_an_explanation() -> None:
    for code, explanation in CODES.items():
        step, _, reason = code.partition(".")
        assert step.isidentifier()
        assert reason.isidentifier()
        assert explanation == explanation.strip()
        assert len(explanation) > 10
