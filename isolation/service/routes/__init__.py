"""What can be asked for, one module a subject; each brings a router."""
