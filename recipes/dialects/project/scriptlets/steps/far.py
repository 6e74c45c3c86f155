"""In a folder that whoever runs the recipe names."""

from scriptlets.steps.words import said


class Far:
    def run(self, context, args, **kwargs):
        context.set("etl.rows", [{"said": said(context)}] * args["times"])
        return {"times": args["times"]}
