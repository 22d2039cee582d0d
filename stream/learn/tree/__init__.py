"""A Hoeffding tree classifier equal to River's, compiled, with its whole state in flat arrays."""

from stream.learn.tree.describe import Split
from stream.learn.tree.model import HoeffdingTree, Params, warm

__all__ = ["HoeffdingTree", "Params", "Split", "warm"]
