"""Blobs by digest, and the ledger of runs."""
