"""Self-contained HTML pages and the plots in them, for the estimator and the studies; nothing here is public."""

__all__: list[str] = []
