"""Images of the server: where they lie, which belong together, and what clients lend."""
