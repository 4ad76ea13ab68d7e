"""Claims open runs and drives their steps one after the other.

`executor` looks for work and claims it; `drive` carries one run; `context` is what a step
may do; `gates` holds the sites' shared circuit breakers and their prober; `slots` queues
tree documents of a site; `lease` is this worker's right to drive.
"""
