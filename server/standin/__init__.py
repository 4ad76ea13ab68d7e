"""A stand-in ERPNext: a real HTTP server that answers as the recorded ones did.

It is for the demo and for tests, and imports nothing of ours. Its facts are the recordings in
`tests/data/erpnext-recordings`, and `tests/server/standin/test_conformance.py` holds it to them.
"""
