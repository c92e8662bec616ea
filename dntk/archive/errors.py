"""The one error of what is stored."""


class StoreError(ValueError):
    """What is stored is damaged, foreign, or belongs to another network or other data."""
