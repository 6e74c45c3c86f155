"""Tests of the recipe as a whole, and of one of its steps in it."""


def test_the_orders_of_the_file_are_added_up(run_recipe, context):
    ran = run_recipe("recipe.yaml")

    ran.assert_succeeded()
    assert ran.outputs == {"extract": {"rows": 5}, "totals": {"countries": 2, "left_out": 1}}
    assert context.to_dict() == {"totals.by_country": {"GB": 129990, "US": 31050}}


def test_what_the_first_step_left_is_all_that_the_second_needs(run_recipe):
    ran = run_recipe("recipe.yaml", only=["extract"])

    assert [order["country"] for order in ran.set["orders"]] == ["GB", "US", "", "GB", "US"]
