"""What a process takes from its environment; the spec says everything else. One place, all documented.

Every variable starts with HEADWATER_. Command-line options win over them.
"""

from pathlib import Path

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of one process."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", extra="ignore")

    kafka: str = Field(default="127.0.0.1:9092", description="broker address, host:port[,host:port…]")
    data: Path = Field(default_factory=lambda: user_data_path("headwater"), description="folder for snapshots")
    registry: str | None = Field(default=None, description="Schema Registry URL; needed for Confluent framing only")
    shard: str = Field(
        default="0/1", pattern=r"^\d+/[1-9]\d*$", description="i/n: this process takes partitions p with p mod n = i"
    )
    grpc: str = Field(default="127.0.0.1:50051", description="address the prediction server listens on, or is asked at")
    grpc_cert: Path | None = Field(default=None, description="server: PEM certificate chain; switches TLS on")
    grpc_key: Path | None = Field(default=None, description="server: PEM key of grpc_cert")
    grpc_client_ca: Path | None = Field(
        default=None, description="server: PEM of who signs clients; then each needs a certificate"
    )
    grpc_token: Path | None = Field(
        default=None, description="server: bearer tokens that are taken, one a line; client: the first is sent"
    )
    grpc_ca: Path | None = Field(default=None, description="client: PEM of who signed the server; switches TLS on")
    grpc_client_cert: Path | None = Field(default=None, description="client: PEM certificate of its own")
    grpc_client_key: Path | None = Field(default=None, description="client: PEM key of grpc_client_cert")
    grpc_message_bytes_max: int = Field(
        default=8 << 20, ge=1 << 10, le=1 << 30, description="server: a larger message is refused"
    )
    elasticsearch: str = Field(default="http://127.0.0.1:9200", description="address documents are shipped to")
    elasticsearch_key: Path | None = Field(default=None, description="file with the API key for it; none if absent")
    elasticsearch_ca: Path | None = Field(default=None, description="PEM of who signed its certificate")
    kibana: str | None = Field(default=None, description="address `elk` puts dashboards and rules at; none if absent")
    kibana_key: Path | None = Field(default=None, description="file with the API key for it; none if absent")
    kibana_ca: Path | None = Field(default=None, description="PEM of who signed its certificate")
    ship_spool_bytes_max: int = Field(
        default=1 << 30, ge=1 << 12, description="on disk while Elasticsearch is away; then reading from Kafka pauses"
    )
    metrics: str | None = Field(default=None, description="server: host:port for Prometheus to scrape; off if absent")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="least level logged")
    log_topic: bool = Field(default=False, description="also send log lines to the pipeline's logs topic")
    commit_timeout_s: float = Field(default=30.0, gt=0, description="a commit longer than this ends the process")
    delivery_timeout_ms: int = Field(
        default=10_000, gt=0, description="a record not taken in this time ends the process"
    )
    transaction_timeout_ms: int = Field(default=15_000, gt=0, description="the broker aborts older transactions")
    linger_ms: int = Field(default=50, ge=0, description="longest wait before finished work is committed")
    crash: str = Field(default="", description="tests: name[:nth[:stop]] of the point where the process kills itself")
