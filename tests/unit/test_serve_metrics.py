"""What Prometheus scrapes of a running server, and what is said of an address that can't be had."""

from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_grpc import hold, running, until
from test_oip import PLAIN, infer, stub
from test_predict_plane import GOOD, make_spec, snapshot

from consumers._serve_metrics import Meter
from consumers.client import CallFailed
from consumers.settings import Settings
from stream.errors import DataError, HeadwaterError
from stream.predict.served import served_of


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """(name, label values in the order of their names …) → value."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {(s.name, *(s.labels[n] for n in sorted(s.labels))): s.value for s in samples}


def test_calls_rows_latency_freshness_and_exposures_are_counted(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    served = served_of(spec, snapshot(spec, tmp_path / "snapshots", rows=200, generation=3))
    with running(spec, served, Settings(metrics="127.0.0.1:0"), workers=2, held_max=3) as server:
        assert server.it.metrics is not None
        port = server.it.metrics.port
        for _ in range(3):
            server.client.predict(GOOD, arm="bold")
        with pytest.raises(CallFailed):
            server.client.predict({**GOOD, "amount": -1.0})
        server.client.predict_batch([GOOD, {}])
        server.client.predict_columns({"amount": [1.0, 2.0, -1.0], "device": ["desk"] * 3}, arm="calm")
        list(server.client.predict_stream([GOOD, {}], timeout_s=10))
        stub(server).ModelInfer(infer("shadow", **PLAIN), timeout=5)
        server.client.feedback(True, event_id="e")
        until(lambda: server.it.exposures.counts()[0] == 9)
        found = scraped(port)
        assert found["headwater_calls_total", "OK", "Predict"] == 3
        assert found["headwater_calls_total", "INVALID_ARGUMENT", "Predict"] == 1
        assert found["headwater_calls_total", "OK", "PredictBatch"] == 2
        assert found["headwater_calls_total", "OK", "ModelInfer"] == 1
        assert found["headwater_calls_total", "OK", "Feedback"] == 1
        assert found["headwater_calls_total", "OK", "PredictStream"] == 1
        assert found["headwater_rows_total", "bold", "OK", "Predict"] == 3
        assert found["headwater_rows_total", "calm", "OK", "PredictBatch"] >= 2
        assert found["headwater_rows_total", "", "INVALID_ARGUMENT", "PredictBatch"] == 2
        assert found["headwater_rows_total", "", "INVALID_ARGUMENT", "PredictStream"] == 1
        assert found["headwater_rows_total", "shadow", "OK", "ModelInfer"] == 2
        assert found["headwater_call_seconds_count", "Predict"] == 4
        assert found["headwater_call_seconds_sum", "Predict"] > 0
        assert found["headwater_staleness_seconds",] == 0.1
        assert found["headwater_model_generation",] == 3
        assert found["headwater_control_seq",] == 0
        assert found["headwater_model_rows",] == 200
        assert found["headwater_exposures_total", "sent"] == 9
        assert found["headwater_exposures_total", "dropped"] == 0
        gate, worked = hold(server)
        calls = [_later(server) for _ in range(3)]
        until(lambda: worked and server.it.server._pool.held == 3)
        with pytest.raises(CallFailed):
            server.client.predict(GOOD)
        found = scraped(port)
        assert found["headwater_held_calls", "predict"] == 3
        assert found["headwater_calls_total", "RESOURCE_EXHAUSTED", "Predict"] == 1
        gate.set()
        assert all(call.result().score > 0 for call in calls)
    with pytest.raises(OSError, match=r"refused|closed|reset"):
        scraped(port)


def _later(server: Any) -> Any:
    from consumers.client import Event, _request

    return server.client._stub.Predict.future(_request(Event(GOOD)), timeout=20)


def test_without_the_setting_nothing_is_served_or_counted(tmp_path: Path) -> None:
    spec = make_spec(tmp_path)
    with running(spec, None) as server:
        assert server.it.metrics is None
        assert server.it._meter is None


def test_an_address_that_can_not_be_had_is_one_clear_error() -> None:
    first = Meter().serve("127.0.0.1:0")
    try:
        with pytest.raises(HeadwaterError, match=r"metrics can.t be served at .*HEADWATER_METRICS"):
            Meter().serve(f"127.0.0.1:{first.port}")
    finally:
        first.close()
    for bad in ("8000", "host:", "host:99999", ":x"):
        with pytest.raises(DataError, match="host:port is wanted"):
            Meter().serve(bad)


def test_two_meters_share_nothing() -> None:
    one, other = Meter(), Meter()
    one.call("Predict", grpc.StatusCode.OK, 0.01)
    assert one.registry.get_sample_value("headwater_calls_total", {"method": "Predict", "code": "OK"}) == 1
    assert other.registry.get_sample_value("headwater_calls_total", {"method": "Predict", "code": "OK"}) is None
