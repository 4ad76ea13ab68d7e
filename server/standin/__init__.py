"""A stand-in ERPNext: a real HTTP server that answers as recorded ones did.

For the demo and for tests. It imports nothing of ours; its facts are the recordings in
`tests/data/erpnext-recordings`, and `tests/server/standin/test_conformance.py` holds it to them.
"""
