"""Reads back what confines a cell, from three sides, and compares it with what the policy asks."""

from isolation.sandbox.attestation.attest import Standing, attest

__all__ = ["Standing", "attest"]
