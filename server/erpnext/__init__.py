"""The adapter for ERPNext: the only room that knows httpx and ERPNext's REST API.

`client` sends and bounds, `classify` says what an answer means, `codes` lists every error
raised here, `steps` holds what a tenant is made of. It knows no store and decides no retry.
"""
