"""The store: every query and every transaction; takes and gives model values, never rows.

`operations` says what can be written, `writer` and `apply` write it, `reads` reads it, `schema`
sets the database up, `tables` is its shape, `driver_lock` says which process may drive on an
SQLite file, `watch` knows whether the database is there. `database` puts them together: open one
with `Database.open`.
"""
