"""OHIF, and what is added to it."""
