"""A scriptlet without a base class."""


class Greeter:
    def run(self, context, args, **kwargs):
        context.set("greeting.text", f"Hello, {args['whom']}!", who="greeter")
        return 0  # an exit code, as a program's: 0 is good
