"""Models behind the server: which there are, running them, scoring them, training them."""
