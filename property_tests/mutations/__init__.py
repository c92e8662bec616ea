"""Ways to break dntk, one file an area; every module here has a list ``MUTANTS``."""
