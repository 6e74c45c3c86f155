"""The built-in scriptlets; by this name also where the recipe has modules of the same names."""

__path__.append("/package/scriptlets/builtin")
