"""Framework0's scriptlet framework; a recipe's own ``scriptlets`` folder adds to it."""

__path__.append("/package/scriptlets")
