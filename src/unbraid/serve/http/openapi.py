"""What FastAPI cannot see of routes that read their requests by hand, for /openapi.json."""

from typing import Any

from fastapi import FastAPI

from unbraid.serve.http.middleware import OPEN
from unbraid.serve.requests import schemas as forms


def takes(form: type[forms.Form], answer: type) -> dict[str, Any]:
    """Arguments of a route that takes `form` as its body and answers with `answer`."""
    schema = form.model_json_schema()
    return {
        "openapi_extra": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        },
        "responses": {200: {"model": answer}},
    }


def parameter(name: str, place: str) -> dict[str, Any]:
    """A parameter, as `openapi_extra`; FastAPI's own brings its form of errors."""
    return {"parameters": [{"name": name, "in": place, "required": True, "schema": {"type": "string"}}]}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals with these statuses."""
    return {status: {"model": forms.ErrorAnswer} for status in statuses}


class KeyedApp(FastAPI):
    """An application whose document says that a key is needed."""

    def openapi(self) -> dict[str, Any]:
        """FastAPI's, which it makes once and hands out again."""
        document = super().openapi()
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        for path in OPEN:
            document["paths"][path]["get"]["security"] = []
        return document
