def count(context, params):
    below = context.get("primes.below", 10_000)
    found = sum(all(n % by for by in range(2, int(n**0.5) + 1)) for n in range(2, below))
    context.set("primes.count", found)
    return {"below": below}


def tell(context, params):
    print(f"{context.get('primes.count')} primes")
