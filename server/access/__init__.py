"""Who calls, and what he may do: users, tokens, keys for machines, and one table of rights.

`policy` is the table; `users`, `api_keys` and `tokens` say who there is and what he holds;
`authenticator` makes an `Actor` of what a caller sends; `sign_in` gives tokens for passwords;
`passwords` hashes, `signing_key` keeps the key, `throttle` counts, `http_door` guards HTTP.
"""
