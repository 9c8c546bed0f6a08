"""A dynamic breast MRI study: its series, phases, arrival of contrast, correction, and what is measured in it."""
