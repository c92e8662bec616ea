"""The page of a fit or of a run: what is told, what is measured for it, and how it is written. Nothing is public."""

__all__: list[str] = []
