"""What the product knows about tenants, as pure values and functions: no I/O, no clock.

Read the modules in this order: `states` (the words), `blueprint` (the steps), `records` (what
is stored), `derive` (the state of a tenant), `budget` (what follows an error), `ownership` (who
a Company belongs to), `naming` (names at the engine), `step_context` (what a step may do).
"""
