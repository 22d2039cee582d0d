"""A Hoeffding adaptive tree classifier equal to River's, compiled, on the kernels of the Hoeffding tree."""

from stream.learn.adaptive.model import AdaptiveTree, Params, warm

__all__ = ["AdaptiveTree", "Params", "warm"]
