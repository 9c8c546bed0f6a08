"""Public data sets turned into case lists, and the phantoms that stand in for them."""
