"""Statements for PostgreSQL in one transaction: all of them are done, or none."""

import json

import psycopg2.pool

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class DatabaseIntegration(BaseScriptlet):
    """
    A query with its params, or several statements; rows of the last go to the context, as dicts.

    The connection string is the secret DATABASE_URL, unless params have one without anything secret in it.
    """

    def __init__(self):
        super().__init__()
        self.name = "database_integration"
        self.pool = None

    def setup(self, context, params):
        address = params.get("connection_string") or context.secret("DATABASE_URL")
        self.pool = psycopg2.pool.ThreadedConnectionPool(1, params.get("pool_size", 5), address)
        context.set(f"{self.name}.pool_ready", True, who=self.name)  # noqa: FBT003 - a value, not a flag

    def run(self, context, params):
        connection = self.pool.getconn()
        try:
            with connection, connection.cursor() as cursor:  # commits at its end, or rolls back
                for statement in params.get("statements", [params]):
                    cursor.execute(statement["query"], statement.get("params"))
                affected = cursor.rowcount
                rows = _rows(cursor) if cursor.description else None
        finally:
            self.pool.putconn(connection)
        if rows is None:
            return {"status": "success", "operation": "modify", "affected_rows": affected}
        context.set(f"{self.name}.query_results", rows, who=self.name)
        return {"status": "success", "operation": "select", "row_count": len(rows), "data": rows}

    def teardown(self, context):
        if self.pool is not None:
            self.pool.closeall()


def _rows(cursor):
    names = [column.name for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return json.loads(json.dumps(rows, default=str))  # decimals and dates as texts: the context holds JSON
