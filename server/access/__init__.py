"""Who calls, and what they may do: users, tokens, keys for machines, and one table of rights.

`policy` is the table. `users`, `api_keys` and `tokens` know who there is and what they hold,
`authenticator` turns what a caller sends into an `Actor`, and `sign_in` gives tokens for passwords.
`passwords` hashes, `signing_key` keeps the key, `throttle` counts tries to sign in, `call_rate`
counts calls, `trail` writes the audit's rows, `http_door` guards HTTP, and `wiring` puts it all
together.
"""
