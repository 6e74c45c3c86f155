"""Beside the recipe."""


def near(context, params):
    context.set("nightly.near", "beside the recipe")
