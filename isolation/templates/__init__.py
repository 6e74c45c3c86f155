"""
Templates: recipes with ``{{ }}`` in them, filled in after the YAML was parsed, so that no value becomes structure.

::

    text ─mark─▶ text with tokens ─read─▶ tree ─fill─▶ tree of the recipe ─write─▶ YAML or JSON
           │                               │     ▲
      placeholders                    parameters └ expressions, evaluated in jinja2's sandbox
"""
