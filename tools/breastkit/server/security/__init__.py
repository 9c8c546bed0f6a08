"""Who may ask what, how much of it, and what is kept on record."""
