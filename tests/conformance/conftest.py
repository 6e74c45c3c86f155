"""The database that the tests of integrations start, for those here, too."""

from tests.test_integrations import server, shop

__all__ = ["server", "shop"]
