def work(context, params):
    context.set("features.batch", context.config["batch"])
    return {"fast": context.is_feature_enabled("fast"), "environment": context.environment}
