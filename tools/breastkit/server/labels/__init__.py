"""Labels: as files, as annotators saved them, and what models learn from them."""
