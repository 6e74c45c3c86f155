"""How a database of an earlier release becomes one of this: one module of ``versions`` a step, run by Alembic."""
