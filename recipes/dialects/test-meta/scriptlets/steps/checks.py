"""A check: an exit code says whether it holds."""

from scriptlets.framework import BaseScriptlet


class CheckSum(BaseScriptlet):
    def run(self, context, args, **kwargs):
        total = sum(context.get("test.numbers"))
        context.set("test.verdict", "pass" if total == args["expected"] else "fail", who=self.name)
        return 0 if total == args["expected"] else 1
