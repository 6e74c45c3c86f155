def count(context, params):
    context.set("counter.value", context.get("counter.value") + 1)
    context.set("counter.by", "the recipe")
