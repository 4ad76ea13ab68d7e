"""Numbers, with the command that made them: `make bench`, `make bench QUICK=1`.

The first takes less than ten minutes and is kept in `benchmarks/results/`; the second takes
less than two, and is printed only.

Each bench runs ours and the thing it is compared with side by side, in rounds that take
turns, so that a busy machine hurts both. Nothing here is a mode of the product: what is
measured is what ships.
"""
