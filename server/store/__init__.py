"""The store: every query and every transaction; takes and gives model values, never rows.

`operations` says what can be written; `writer` collects it, `apply` writes it, and `fencing` lets
through only what was judged on what is still so. `reads` reads it, and `healing` has what
reconcilers remember. `schema` sets the database up, `tables` is its shape, `driver_lock` says which
process may drive on an SQLite file, `watch` knows whether the database is there. `database` puts
them together: open one with `Database.open`.
"""
