"""The adapter for ERPNext: the only room that knows httpx and ERPNext's REST API.

`client` sends requests within bounds, `classify` says what an answer means, `codes` lists every
error raised here, and `steps` holds what a tenant is made of. The adapter knows no store and
never decides whether to repeat a request.
"""
