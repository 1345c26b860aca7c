"""Sightline: from a number, to what is wrong, to what to do."""

__version__ = "0.1.0"
