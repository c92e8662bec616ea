"""Self-contained HTML reports."""

from dntk.report.demo import write_demo_report
from dntk.report.fit import write_fit_report

__all__ = ["write_demo_report", "write_fit_report"]
