"""Forests of compiled Hoeffding trees, equal to River's: bagging, ADWIN bagging, the adaptive random forest."""

from stream.learn.forest.adwin_bagging import AdwinBagging
from stream.learn.forest.model import AdaptiveForest, Forest
from stream.learn.forest.regress_model import RegressorForest

__all__ = ["AdaptiveForest", "AdwinBagging", "Forest", "RegressorForest"]
