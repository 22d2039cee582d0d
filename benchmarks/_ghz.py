"""The native load generator, ghz: the one on PATH or kept from before, else built by Go into the cache."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor
from numpy.typing import NDArray
from platformdirs import user_cache_path

SOURCE = "github.com/bojand/ghz/cmd/ghz@latest"
BUILD_S_MAX = 900


class Seen(NamedTuple):
    """Calls of one run, in the order they began. rate: calls a second; begun_s: float64[n], since the epoch."""

    rate: float
    failed: int
    begun_s: NDArray[np.float64]
    took_ms: NDArray[np.float64]

    def took(self, share: float) -> float:
        """Milliseconds within which this share of the calls was answered."""
        return float(np.quantile(self.took_ms, share))


Load = Callable[[int, int, int, int], Seen]
"""(port, calls, in flight, calls a second or 0) → what was seen."""


def find_ghz(build: bool) -> str | None:
    """Where ghz is; None where it is not and can't, or may not, be built."""
    kept = user_cache_path("headwater") / "bin" / "ghz"
    found = shutil.which("ghz") or (str(kept) if kept.exists() else None)
    go = shutil.which("go")
    if found or not build or go is None:
        return found
    print(f"building {SOURCE} into {kept.parent}", file=sys.stderr)
    kept.parent.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ) | {"GOBIN": str(kept.parent), "GOFLAGS": "-mod=mod"}
    done = subprocess.run(
        [go, "install", SOURCE], env=env, capture_output=True, text=True, timeout=BUILD_S_MAX, check=False
    )
    if done.returncode:
        print(f"go ended with {done.returncode}: {done.stderr.strip()[-300:]}", file=sys.stderr)
    return str(kept) if kept.exists() else None


def protoset(file: FileDescriptor) -> bytes:
    """Messages as ghz takes them; its own parser knows no `optional`."""
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return bytes(descriptor_pb2.FileDescriptorSet(file=[proto]).SerializeToString())


def by_ghz(ghz: str, call: str, body: Path, schema: Path) -> Load:
    """Calls `call` (service.Method) with the message in the file `body`, of the types in the file `schema`."""

    def load(port: int, calls: int, flying: int, rate: int) -> Seen:
        command = [
            ghz, "--insecure", "--protoset", str(schema), "--call", call, "--binary-file", str(body),
            "-n", str(calls), "-c", str(flying), "--rps", str(rate), "-O", "json", f"127.0.0.1:{port}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"ghz ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        found = json.loads(done.stdout)
        failed = sum(count for code, count in found["statusCodeDistribution"].items() if code != "OK")
        each = sorted((_epoch_s(one["timestamp"]), one["latency"] / 1e6) for one in found["details"])
        return Seen(found["rps"], failed, *np.array(each).T)

    return load


def _epoch_s(text: str) -> float:
    """A time as Go writes it: to the nanosecond, with Z or an offset."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()
