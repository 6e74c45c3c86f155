"""Framework0's scriptlet framework; a recipe's own ``scriptlets`` folder adds to it."""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
