"""Claims open runs and drives their steps one after the other.

`executor` looks for work, and `choosing` picks which runs come next; `claiming` makes a run
ours; `drive` carries it out, and `journal` records what becomes of it; `context` is what a step
may do, and `intents` the record of what it asks for; `settling` decides who made the documents
that were seen; `gates` holds the sites' shared circuit breakers and their prober; `line` queues
the tree documents of a site, and `slots` has the lines of all; `site_slot` takes the slot and
gives it back; `lease` is this worker's right to drive.
"""
