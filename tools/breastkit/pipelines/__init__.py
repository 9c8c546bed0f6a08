"""One study or picture from input to findings."""
