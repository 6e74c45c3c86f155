"""A request to a web service: what it answers goes to the context, and what is no success fails the step."""

import requests

from scriptlets.framework import BaseScriptlet, register_scriptlet


@register_scriptlet
class ApiIntegration(BaseScriptlet):
    """Sends ``payload`` as JSON to ``endpoint`` with ``method``, ``headers``, ``timeout`` and the secret API_TOKEN."""

    def __init__(self):
        super().__init__()
        self.name = "api_integration"

    def run(self, context, params):
        headers = {**params.get("headers", {}), "Authorization": f"Bearer {context.secret('API_TOKEN')}"}
        response = requests.request(
            params.get("method", "GET"),
            params["endpoint"],
            headers=headers,
            json=params.get("payload"),
            timeout=params.get("timeout", 30),
        )
        context.set(f"{self.name}.status_code", response.status_code, who=self.name)
        if not response.ok:
            problem = f"API request failed: {response.status_code} - {response.text}"
            context.set(f"{self.name}.error", problem, who=self.name)
            self.logger.error(problem)
            raise RuntimeError(problem)
        data = response.json() if response.content else {}
        context.set(f"{self.name}.response", data, who=self.name)
        return {"status": "success", "data": data, "response_time": response.elapsed.total_seconds()}
