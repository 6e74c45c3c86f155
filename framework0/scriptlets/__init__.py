"""
Framework0's scriptlets.

A module of this package is looked for in this order::

    here                  the framework, which nothing of a recipe's replaces
    /package/scriptlets   the recipe's own
    builtin/              the built-in library
"""

__path__ += ["/package/scriptlets", f"{__path__[0]}/builtin"]
