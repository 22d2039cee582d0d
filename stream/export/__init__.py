"""Our own models as ONNX files, for programs that know nothing of us, and for arms that stay as they were."""

from stream.export.arm import Exported, export_arm
from stream.export.linear import keys_of, weights_of

__all__ = ["Exported", "export_arm", "keys_of", "weights_of"]
