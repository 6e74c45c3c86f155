"""Nouns: frozen values without any I/O."""
