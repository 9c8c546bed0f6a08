"""Benchmarks, run by ``make bench``; each compares two ways within one run and prints the ratio."""
