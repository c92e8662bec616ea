"""Distillation of data (coresets) and of gradients (synthetic gradients)."""

from dntk.distill import data as data
from dntk.distill import gradients as gradients
