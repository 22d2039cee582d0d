"""Brokers for the tests marked `broker`: one shared by the session, or an own one that a test may kill."""

import os
import signal
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import structlog

with warnings.catch_warnings():  # kafka-python reads its schemas in a deprecated way when it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

from infra.kafka import LocalBroker, find_broker
from tests.demo_run import DemoRun, run_demo

# The same examples each time, so that a run tells of the change it is about; `explore` looks further.
hypothesis.settings.register_profile("steady", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False, max_examples=500, print_blob=True)
hypothesis.settings.load_profile("steady")

os.environ["COLUMNS"] = "120"  # tables are as wide wherever the tests run

_configure = structlog.configure


def _configure_anew(**how: Any) -> None:
    """Loggers of modules are kept once used, which would give a test the lines of an earlier one's pipeline."""
    _configure(**{**how, "cache_logger_on_first_use": False})


structlog.configure = _configure_anew

# A shell that starts the tests in the background has them ignore Ctrl-C, and so whatever they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def kafka_address() -> Iterator[str]:
    """The broker of HEADWATER_KAFKA, else of Docker, else a native one. Never kill it: it is shared."""
    with find_broker() as address:
        yield address


@pytest.fixture(scope="session")
def demo_run(kafka_address: str, tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """One run of the demo; its topics stay on the session's broker."""
    return run_demo(kafka_address, tmp_path_factory.mktemp("demo"))


@pytest.fixture
def fresh_broker() -> Iterator[LocalBroker]:
    """An own native broker, tuned to come back quickly, for tests that kill or pause it."""
    with LocalBroker().start(fault_tuning=True) as broker:
        yield broker


@pytest.fixture
def prefix() -> str:
    """Begins the names of this test's topics and groups, so that tests can share a broker."""
    return f"t{uuid.uuid4().hex[:10]}-"
