"""Tests of the scriptlet by itself: what it is given, what it changes, what it refuses."""

import pytest

TOTALS = "scriptlet_totals:TotalsScriptlet"


@pytest.fixture
def orders(context):
    context.set("orders", [{"country": "GB", "cents": "125000"}, {"country": "", "cents": "700"}])


def test_orders_are_added_up_by_country(run_scriptlet, orders):
    ran = run_scriptlet(TOTALS)

    ran.assert_changed({"totals.by_country": {"GB": 125000}}, deleted=["orders"])
    assert ran.outputs == {"countries": 1, "left_out": 0}
    assert ran.artifacts == {"totals.txt": b"GB 1250.00\n"}


def test_an_order_of_no_country_is_told(run_scriptlet, orders):
    ran = run_scriptlet(TOTALS)

    assert ran.messages("WARNING") == ["an order of no country"]
    assert ran.logs[0].fields == {"cents": 700}


def test_what_changes_nothing_is_an_error(run_scriptlet, context):
    context.set("orders", [{"country": "GB", "cents": "many"}])
    ran = run_scriptlet(TOTALS)

    ran.assert_failed("ValueError", "'many'")
    assert context.keys() == ["orders"]


@pytest.mark.parametrize("least", [-1, "0", None])
def test_a_bound_that_is_none_is_refused(run_scriptlet, orders, least):
    run_scriptlet(TOTALS, {"least_cents": least}).assert_failed("ParamsError", "least_cents")
