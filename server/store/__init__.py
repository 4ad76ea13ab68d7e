"""The store: every query and every transaction; takes and gives model values, never rows.

`operations` says what can be written, `writer` and `apply` write it, `reads` reads it,
`schema` sets it up, `tables` is the shape, `driver_lock` says which process may drive
an SQLite file, `watch` knows whether the database is there. `database` puts them
together: open one with `Database.open`.
"""
