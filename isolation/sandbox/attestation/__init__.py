"""Reads back what confines a cell, from three sides, and compares it with what the policy asks."""

from isolation.sandbox.attestation.attest import Idle, Standing, attest

__all__ = ["Idle", "Standing", "attest"]
