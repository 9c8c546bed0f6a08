"""Public data sets, each turned from a folder as downloaded into a case list."""
