"""Finds stuck tenants, and drives them on.

`schedule` says when, and `sweep` is one pass: `observe` reads what is to be looked at, `judge` says
what is wrong with it, `remedies` gives the order, and `recorder` records what was `found`. `herd`
decides which of many tenants with one error go first; `herds` keeps that, and `herd_found` words
it. After a pass `write_off` ends what is over, `engine_watch` calls a person to a shut engine, and
`drift` checks a few finished tenants. `healer` is all of this as a server sees it.
"""
