"""TLS, client certificates, tokens and the size of messages, over real gRPC with certificates of the moment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from test_grpc import running
from test_predict_plane import GOOD, make_spec, snapshot

from consumers._serve_security import Security, server_credentials
from consumers.client import CallFailed, PredictionClient
from consumers.predict import PredictServer
from consumers.settings import Settings
from schemas import inference_pb2 as oip
from schemas import inference_pb2_grpc as oip_grpc
from stream.errors import DataError
from stream.predict.served import Served, served_of
from stream.spec import Spec


@dataclass(frozen=True)
class Files:
    """An authority, a server's certificate and a client's; a stranger signed the last two."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path
    strange_ca: Path
    strange_cert: Path
    strange_key: Path
    tokens: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")

    def put(name: str, *blobs: Any) -> Path:
        path: Path = folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    ca, stranger = trustme.CA(), trustme.CA()
    server, client, strange = ca.issue_cert("127.0.0.1"), ca.issue_cert("me@here"), stranger.issue_cert("127.0.0.1")
    (folder / "tokens").write_text("first-token\n\nsecond-token\n")
    return Files(
        put("ca", ca.cert_pem),
        put("cert", *server.cert_chain_pems),
        put("key", server.private_key_pem),
        put("client_cert", *client.cert_chain_pems),
        put("client_key", client.private_key_pem),
        put("strange_ca", stranger.cert_pem),
        put("strange_cert", *strange.cert_chain_pems),
        put("strange_key", strange.private_key_pem),
        folder / "tokens",
    )


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return make_spec(tmp_path_factory.mktemp("security"))


@pytest.fixture(scope="module")
def served(spec: Spec) -> Served:
    return served_of(spec, snapshot(spec, spec.folder / "snapshots", rows=200))


def _fails(address: str, security: Security, *statuses: str) -> CallFailed:
    with PredictionClient(address, 1.0, security) as client, pytest.raises(CallFailed) as e:
        client.predict(GOOD)
    assert e.value.status in statuses, str(e.value)
    return e.value


def test_with_a_certificate_only_who_trusts_its_signer_gets_an_answer(spec: Spec, served: Served, files: Files) -> None:
    settings = Settings(grpc_cert=files.cert, grpc_key=files.key)
    with running(spec, served, settings, Security(ca=files.ca)) as server:
        assert server.client.predict(GOOD).score > 0
        _fails(server.address, Security(), "UNAVAILABLE", "DEADLINE_EXCEEDED")
        _fails(server.address, Security(ca=files.strange_ca), "UNAVAILABLE", "DEADLINE_EXCEEDED")
        assert server.client.predict(GOOD).score > 0


def test_where_clients_need_a_certificate_only_one_that_is_signed_gets_in(
    spec: Spec, served: Served, files: Files
) -> None:
    settings = Settings(grpc_cert=files.cert, grpc_key=files.key, grpc_client_ca=files.ca)
    own = Security(files.ca, files.client_cert, files.client_key)
    with running(spec, served, settings, own) as server:
        assert server.client.predict(GOOD).score > 0
        _fails(server.address, Security(ca=files.ca), "UNAVAILABLE", "DEADLINE_EXCEEDED")
        strange = Security(files.ca, files.strange_cert, files.strange_key)
        _fails(server.address, strange, "UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_where_there_are_tokens_every_call_but_healths_needs_one(
    spec: Spec, served: Served, files: Files, tmp_path: Path
) -> None:
    with running(spec, served, Settings(grpc_token=files.tokens), Security(token=files.tokens)) as server:
        assert server.client.predict(GOOD).score > 0
        assert len(list(server.client.predict_stream([GOOD], timeout_s=10))) == 1
        none = _fails(server.address, Security(), "UNAUTHENTICATED")
        assert (none.reason, "no bearer token" in str(none)) == ("server.unauthenticated", True)
        for text, wanted in (("second-token", True), ("third-token", False), ("first-toke", False)):
            other = tmp_path / text
            other.write_text(text)
            if wanted:
                with PredictionClient(server.address, 5.0, Security(token=other)) as client:
                    assert client.predict(GOOD).score > 0
            else:
                told = str(_fails(server.address, Security(token=other), "UNAUTHENTICATED"))
                assert "not known" in told
                assert text not in told
        with PredictionClient(server.address) as client, pytest.raises(CallFailed) as e:
            list(client.predict_stream([GOOD], timeout_s=10))
        assert e.value.status == "UNAUTHENTICATED"
        stub: Any = oip_grpc.GRPCInferenceServiceStub(server.channel)
        with pytest.raises(grpc.RpcError) as raw:
            stub.ServerReady(oip.ServerReadyRequest(), timeout=5)
        assert raw.value.code() is grpc.StatusCode.UNAUTHENTICATED
        header = (("authorization", "bearer first-token"),)
        assert stub.ServerReady(oip.ServerReadyRequest(), timeout=5, metadata=header).ready
        basic = (("authorization", "Basic first-token"),)
        with pytest.raises(grpc.RpcError, match="no bearer token"):
            stub.ServerReady(oip.ServerReadyRequest(), timeout=5, metadata=basic)
        assert server.health() == health_pb2.HealthCheckResponse.SERVING
        reflection = server.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError, match="no bearer token"):
            list(reflection(iter([b""]), timeout=5))


def test_a_message_larger_than_the_setting_is_refused(spec: Spec, served: Served) -> None:
    with running(spec, served, message_bytes_max=2048) as server:
        assert server.client.predict(GOOD).score > 0
        with pytest.raises(CallFailed) as e:
            server.client.predict({**GOOD, "country": "x" * 4096})
        assert e.value.status == "RESOURCE_EXHAUSTED"
        assert server.client.predict(GOOD).score > 0
    made = PredictServer(spec, Settings(grpc_message_bytes_max=4096))
    assert made.server._options.message_bytes_max == 4096
    made.close()


def test_health_needs_no_token(spec: Spec, served: Served, files: Files) -> None:
    with running(spec, served, Settings(grpc_token=files.tokens)) as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING


def test_what_can_not_be_used_is_one_clear_error(files: Files, tmp_path: Path) -> None:
    junk, empty = tmp_path / "junk", tmp_path / "empty"
    junk.write_text("no certificate at all")
    empty.write_text("\n \n")
    wrong: list[tuple[dict[str, Path], str]] = [
        ({"grpc_cert": files.cert}, "HEADWATER_GRPC_CERT and HEADWATER_GRPC_KEY: only one of them is set"),
        ({"grpc_cert": files.cert, "grpc_key": tmp_path / "none"}, "none: can't be read: No such file"),
        ({"grpc_cert": junk, "grpc_key": files.key}, "no PEM certificate with its key"),
        ({"grpc_cert": files.cert, "grpc_key": files.strange_key}, "no PEM certificate with its key"),
        ({"grpc_client_ca": files.ca}, "HEADWATER_GRPC_CLIENT_CA: needs HEADWATER_GRPC_CERT"),
        ({"grpc_cert": files.cert, "grpc_key": files.key, "grpc_client_ca": junk}, "HEADWATER_GRPC_CLIENT_CA: "),
    ]
    for given, said in wrong:
        with pytest.raises(DataError) as e:
            server_credentials(Settings(**given))  # type: ignore[arg-type]
        assert said in str(e.value)
    for security, said in (
        (Security(ca=junk), "HEADWATER_GRPC_CA: "),
        (Security(cert=files.cert, key=files.key), "HEADWATER_GRPC_CLIENT_CERT: needs HEADWATER_GRPC_CA"),
        (Security(token=empty), "HEADWATER_GRPC_TOKEN: "),
        (Security(token=junk), "HEADWATER_GRPC_TOKEN: "),
        (Security(token=tmp_path / "none"), "can't be read"),
    ):
        with pytest.raises(DataError) as e:
            PredictionClient(security=security)
        assert said in str(e.value)


def test_a_client_is_as_the_settings_say(files: Files) -> None:
    settings = Settings(grpc_ca=files.ca, grpc_client_cert=files.client_cert, grpc_client_key=files.client_key)
    assert Security.of(settings) == Security(files.ca, files.client_cert, files.client_key, None)
