"""Numbers to test with."""


class MakeNumbers:
    def run(self, context, args, **kwargs):
        context.set("test.numbers", list(range(1, args["upto"] + 1)), who="MakeNumbers")
        return 0
