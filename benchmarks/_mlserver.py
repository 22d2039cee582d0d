"""MLServer with a linear model of the flights, for `serve`: an environment of its own, over the same protocol.

Its model is scikit-learn's LogisticRegression over the numbers alone, which is less work than ours does, and it serves
without a pool of processes, which is its fastest for a model as small.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np

from benchmarks._rows import Rows
from infra.kafka import free_port
from schemas import inference_pb2 as oip
from schemas import inference_pb2_grpc as oip_grpc

PACKAGES = ("mlserver", "mlserver-sklearn")
INSTALL_S_MAX, START_S_MAX = 900, 120
_FIT = """
import sys, joblib, numpy
from sklearn.linear_model import LogisticRegression
data = numpy.load(sys.argv[1])
joblib.dump(LogisticRegression(max_iter=200).fit(data["x"], data["y"]), sys.argv[2])
"""


def environment(folder: Path) -> str:
    """Path of MLServer's Python; made where it is not there yet. Raises CalledProcessError where that fails."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "mlserver").exists():
        print(f"installing {', '.join(PACKAGES)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True, timeout=INSTALL_S_MAX)
    return str(python)


def request_of(rows: Rows) -> oip.ModelInferRequest:
    """One flight's numbers, as scikit-learn's runtime wants them: one tensor."""
    message = oip.ModelInferRequest(model_name="flights")
    tensor = message.inputs.add(name="predict", datatype="FP64", shape=[1, rows.block.numeric.shape[1]])
    tensor.contents.fp64_contents.extend(np.nan_to_num(rows.block.numeric[0]).tolist())
    return message


@contextlib.contextmanager
def mlserver(venv: Path, rows: Rows) -> Iterator[int]:
    """MLServer with the model, ready; its gRPC port."""
    python = environment(venv)
    port, more = free_port(), [free_port(), free_port()]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        np.savez(folder / "rows.npz", x=np.nan_to_num(rows.block.numeric), y=rows.label)
        subprocess.run([python, "-c", _FIT, str(folder / "rows.npz"), str(folder / "model.joblib")], check=True)
        (folder / "settings.json").write_text(
            json.dumps({
                "host": "127.0.0.1", "grpc_port": port, "http_port": more[0], "metrics_port": more[1],
                "parallel_workers": 0, "debug": False,
            })
        )  # fmt: skip
        implementation = "mlserver_sklearn.SKLearnModel"
        model = {"name": "flights", "implementation": implementation, "parameters": {"uri": "./model.joblib"}}
        (folder / "model-settings.json").write_text(json.dumps(model))
        command = [str(Path(python).with_name("mlserver")), "start", str(folder)]
        log = (folder / "log").open("wb")
        with log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as child:
            try:
                _wait(port, rows, child, folder / "log")
                yield port
            finally:
                child.terminate()
                child.wait(30)


def _wait(port: int, rows: Rows, child: "subprocess.Popen[bytes]", log: Path) -> None:
    until_s = time.monotonic() + START_S_MAX
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        infer = oip_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        while True:
            try:
                infer(request_of(rows), timeout=5)
                return
            except grpc.RpcError as e:
                if child.poll() is not None or time.monotonic() > until_s:
                    raise RuntimeError(f"MLServer does not answer: {e}; {log.read_text()[-500:]}") from e
                time.sleep(0.5)
