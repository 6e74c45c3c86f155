"""Containers: the engine, the hardened cell, the channel and the kernel's counters."""
