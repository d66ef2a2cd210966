"""The `team` fixture for this folder."""

from support.dvcteam import team

__all__ = ["team"]
