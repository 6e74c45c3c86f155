"""Run recipes that nobody has to trust: isolated, measured, merged as one transaction, repeatable."""
