"""A Hoeffding adaptive tree for numbers equal to River's, compiled, on the kernels of the regression tree."""

from stream.learn.adaptive_regress.model import AdaptiveRegressor, Params

__all__ = ["AdaptiveRegressor", "Params"]
