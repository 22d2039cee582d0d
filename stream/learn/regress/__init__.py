"""A Hoeffding tree regressor equal to River's, compiled, on the flat arrays of the classifier's tree."""

from stream.learn.regress.model import HoeffdingRegressor, Params, warm

__all__ = ["HoeffdingRegressor", "Params", "warm"]
