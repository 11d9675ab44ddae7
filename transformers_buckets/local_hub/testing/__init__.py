"""A local Hub that a program starts, steers and lets fail. Nothing of this is in what the command serves."""

from .hub import LocalHub
from .traffic import Request


__all__ = ["LocalHub", "Request"]
