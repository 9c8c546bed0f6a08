"""``breastkit models``: which weights there are, where they come from, and which of them the bundles run with."""
