"""Breast ultrasound phantoms: pictures with their truth, and folders of them."""
