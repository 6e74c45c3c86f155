import hashlib
import hmac


def sign(context, params):
    key = context.secret("SIGNING_KEY")
    print(f"signing with {key}")  # a slip, as they happen: the log says [secret SIGNING_KEY]
    signature = hmac.new(key.encode(), params["order"].encode(), hashlib.sha256)
    context.set("order.signature", signature.hexdigest())


def label(context, params):
    return {"label": context.get("order.signature")[:8]}
