"""Distillation of data (coresets) and of gradients (synthetic gradients)."""

from dntk.distill import data, gradients

__all__ = ["data", "gradients"]
