"""What the product knows about tenants, as pure values and functions: no I/O, no clock.

Read in this order: `states` (the words), `blueprint` (the steps), `records` (what is
stored), `derive` (where a tenant stands), `budget` (what follows an error),
`ownership` (whose a Company is), `naming` (names at the engine), `step_context` (what
a step may do).
"""
