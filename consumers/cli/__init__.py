"""The command `headwater`: it only translates between a person and the rest."""

from consumers.cli.app import main

__all__ = ["main"]
