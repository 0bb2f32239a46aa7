"""Understudy keeps an AI product running when the model behind it doesn't."""

__version__ = "0.1.0"
