"""Forms of an ONNX file that answer quicker or take less room, and what each costs in time and in quality."""

from stream.optimise.pace import Pace, paces
from stream.optimise.quality import Loss, Quality, quality
from stream.optimise.variants import ORIGINAL, Variant, variants

__all__ = ["ORIGINAL", "Loss", "Pace", "Quality", "Variant", "paces", "quality", "variants"]
