"""Amounts of money, in cents: a local module that another local module imports."""

from decimal import Decimal, InvalidOperation


def cents(text):
    """Return the amount in cents; None for what is no amount."""
    try:
        return int(Decimal(text.replace(",", "")) * 100)
    except InvalidOperation:
        return None
