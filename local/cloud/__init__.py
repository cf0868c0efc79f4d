"""The AWS side of the local cloud: one process that answers as AWS on one loopback port.

MiniStack answers for most services, moto for the RDS control plane, and real PostgreSQL servers stand behind the
RDS instances. This package starts them, joins them, and repairs what stands between them and AWS's behaviour where
Lifeboat depends on it (see `gaps.py` for what stays different). It never talks to anything outside 127.0.0.0/8.
"""
