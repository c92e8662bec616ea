"""Whole runs as files say them: a configuration is read and checked, the fit is made, and what came out is written."""

from dntk.runs._compared import compared
from dntk.runs._page import write_report
from dntk.runs.configuration import Configuration, read
from dntk.runs.prepared import Outcome, Prepared, prepare
from dntk.runs.summary import SUMMARY, read_summary

__all__ = [
    "SUMMARY",
    "Configuration",
    "Outcome",
    "Prepared",
    "compared",
    "prepare",
    "read",
    "read_summary",
    "write_report",
]
