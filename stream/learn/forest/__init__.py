"""Forests of compiled Hoeffding trees, equal to River's: online bagging and the adaptive random forest."""

from stream.learn.forest.model import AdaptiveForest, Forest
from stream.learn.forest.regress_model import RegressorForest

__all__ = ["AdaptiveForest", "Forest", "RegressorForest"]
