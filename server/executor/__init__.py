"""Claims open runs and drives their steps one after the other.

`executor` looks for work; `claiming` makes a run ours; `drive` carries it, and `journal`
writes down what becomes of it; `context` is what a step may do; `settling` decides whose
what was seen is; `gates` holds the sites' shared circuit breakers and their prober;
`slots` queues tree documents of a site; `lease` is this worker's right to drive.
"""
