"""Benchmarks: `make bench`, `make bench QUICK=1`.

The first takes less than ten minutes and its results are kept in `benchmarks/results/`; the second
takes less than two and only prints them.

Each benchmark runs our program and the one it is compared with in alternating rounds, so that a
busy machine slows both. The product has no mode for benchmarks: what is measured is what ships.
"""
