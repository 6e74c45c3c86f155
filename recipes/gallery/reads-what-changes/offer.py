def offer(context, params):
    context.set("offer.ten", 10 * context.get("price.one"))
