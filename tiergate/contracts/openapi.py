"""One OpenAPI 3.1 document for each API and major version: paths and parameters as the web framework knows them, bodies
as msgspec checks them, everything else from the catalogue.
"""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Container, Iterable, Iterator
from functools import cache
from typing import Any, get_args, get_origin

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig

from canonical.faults import Unavailable, UnknownOutcome
from canonical.orders import Page
from canonical.states import MEANING
from policies import problems
from policies.catalogue.check import load
from policies.catalogue.model import Api, Catalogue, Layer, Operation, Version
from policies.contract.operation import LINES, answer_type, declaration_of
from policies.contract.version_chain import VersionChain, chains
from policies.contract.versions import ENDED
from policies.problems import CONTENT_TYPE, FAULTS, Problem, ProblemType
from policies.traffic.idempotency import MISSING_KEY, REUSED_KEY, STILL_RUNS
from policies.traffic.rate_limit import THROTTLED
from process_apis.records.database import open_database
from tiergate import composition
from tiergate.contracts import descriptions, partner_webhooks
from tiergate.contracts.examples import ACT, CAS, CON, COR, CUS, DEAL_ID, ORD, PAYMENT, SYN, sample
from tiergate.settings import Settings

Json = dict[str, Any]
FILE = {"type": "string", "format": "binary"}
SCHEMAS = "#/components/schemas/"
STATES = sorted(MEANING)
PAGE = re.compile(r"Page_(\w+)_")
"""What msgspec calls a page of something."""
PARAMETERS = {
    "case_id": CAS,
    "order_id": ORD,
    "customer_id": CUS,
    "contract_id": CON,
    "deal_id": DEAL_ID,
    "invoice_id": PAYMENT.invoice_id,
    "payment_id": PAYMENT.id,
    "key": ACT,
    "code": "DE01",
    "legal_entity": "DE01",
    "currency": "EUR",
    "sku": "SEAT",
    "product": "SEAT",
    "sync_id": SYN,
    "client": "sales-app",
    "operation": "sales_get_order",
}


def documents() -> Iterator[tuple[str, Json]]:
    """Return (file name, document) of every API and version, in the catalogue's order."""
    catalogue = load()
    apps = _apps()
    for name, api in catalogue.apis.items():
        yield from documents_of(apps[api.layer], catalogue, name)


def documents_of(app: Litestar, catalogue: Catalogue, name: str) -> Iterator[tuple[str, Json]]:
    """Return (file name, document) of every version of an API that `app` serves, in the catalogue's order."""
    older = chains(app).get(name, {})
    for version, life in catalogue.apis[name].versions.items():
        as_of = older.get(version)
        made = _document(app, catalogue, name, as_of.newest if as_of else version, as_of)
        yield f"{name}.{version}.json", _with_its_life(made, life)


@cache  # the durable engine takes one set of workflows for each process
def _apps() -> dict[Layer, Litestar]:
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(folder=scratch)
        config = OpenAPIConfig(title="Tiergate", version="v1")
        return {
            "system": composition.system_app(settings, {}, config),
            "process": composition.process_app(settings, open_database(settings.process_database()), config),
            "experience": composition.experience_app(settings, openapi=config),
        }


class Route:
    """An operation with the types that it takes and returns."""

    def __init__(self, handler: HTTPRouteHandler, operation: Operation) -> None:
        self.operation = operation
        self.handler = handler
        self.takes: Any = handler.parsed_data_field.annotation if handler.parsed_data_field else None
        self.returns: Any = answer_type(handler)
        self.declared = declaration_of(handler)
        self.description = inspect.cleandoc(handler.fn.__doc__ or "")


def _document(app: Litestar, catalogue: Catalogue, name: str, version: str, as_of: VersionChain | None) -> Json:
    api = catalogue.apis[name]
    routes = {
        str(handler.operation_id): Route(handler, api.operations[str(handler.operation_id)])
        for route in app.routes
        if route.path.startswith(f"/{name}/{version}/")
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and handler.operation_id
        if as_of is None or as_of.serves(handler.operation_id)
    }
    kinds = [
        kind
        for route in routes.values()
        for kind in (route.takes, route.returns, route.declared.lines)
        if kind is not None
    ]
    kinds += as_of.removed_types() if as_of else []
    _, schemas = msgspec.json.schema_components([*kinds, Problem], ref_template=SCHEMAS + "{name}")
    descriptions.describe(schemas, _structs([*kinds, Problem]) | {each: Page for each in schemas if PAGE.match(each)})
    whole: Json = msgspec.json.decode(msgspec.json.encode(app.openapi_schema.to_schema()))
    described: Json = {
        path: {
            method: _operation(found, routes, api, as_of)
            for method, found in item.items()
            if found["operationId"] in routes
        }
        for path, item in whole["paths"].items()
        if path.startswith(f"/{name}/{version}/")
    }
    paths = {path: item for path, item in described.items() if item}
    made: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Tiergate {api.title} API",
            "version": version,
            "description": f"Answers for it: {api.owner}. Layer: {api.layer}.",
            "contact": {"name": api.owner},
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The host that serves this document's layer"}],
        "tags": [{"name": name, "description": f"The {api.title} API"}],
        "paths": paths,
        "components": {
            "schemas": {_name(each): _typed(schema) for each, schema in sorted(schemas.items())},
            "responses": _problem_answers(_mentioned(paths)),
            "securitySchemes": _security_schemes(api),
        },
        "security": _security(api, None),
    }
    if partner_webhooks.MADE_BY in routes:
        made["webhooks"] = partner_webhooks.webhooks(catalogue)
    made = _renamed(made)
    taken = [each for route in routes.values() for each in (route.takes, route.declared.lines) if each is not None]
    _close(made, taken)
    return as_of.describe(made, _structs(kinds)) if as_of else made


# ---- operations


def _operation(found: Json, routes: dict[str, Route], api: Api, as_of: VersionChain | None) -> Json:
    operation_id = found["operationId"]
    route = routes[operation_id]
    operation = route.operation
    made: Json = {
        "tags": found["tags"],
        "summary": found["summary"],
        "description": route.description,
        "operationId": operation_id,
    }
    parameters = [_parameter(each) for each in found.get("parameters", ())] + _key_parameter(operation)
    if parameters:
        made["parameters"] = parameters
    if operation.open == "signature":  # the platform describes it, and it is verified byte by byte
        made["requestBody"] = {
            "required": True,
            "description": "The platform's own event, signed as the platform signs",
            "content": {"application/json": {"schema": {"type": "object"}, "examples": {"event": {"value": {}}}}},
        }
    elif route.declared.lines is not None:
        made["requestBody"] = {"required": True, "content": {LINES: _lines(route.declared.lines)}}
    elif route.takes is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": _content(route.takes, as_of)}}
    status = next(iter(each for each in found["responses"] if each.startswith("2")))
    content: Json = {each: {"schema": FILE} for each in route.declared.files}
    answer: Json = {"description": "Done", "content": content or {"application/json": _content(route.returns, as_of)}}
    if links := _links(route, routes):
        answer["links"] = links
    made["responses"] = {status: answer} | _problem_references(_problems(found, route, api))
    if operation.open:
        made["security"] = []
    else:
        made["security"] = _security(api, operation.scope)
        made["x-scope"] = operation.scope
        made["x-cost"] = operation.cost
        if operation.cost > 1:
            made["description"] = f"{route.description} Each call counts {operation.cost} of your limits.".strip()
    return made | {"x-service-tier": operation.tier, "x-idempotency": operation.idempotency}


def _security_schemes(api: Api) -> Json:
    """Return how a caller proves who it is: by a token, and for a channel by a client's name and secret."""
    token = {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token (RFC 9068) for this layer",
    }
    if api.layer != "experience":
        return {"token": token}
    scopes: dict[str, list[str]] = {}
    for name, operation in api.operations.items():
        if operation.scope:
            scopes.setdefault(operation.scope, []).append(name)
    flow = {
        "tokenUrl": "/oauth/token",
        "scopes": {scope: f"For {', '.join(names)}" for scope, names in sorted(scopes.items())},
    }
    described = (
        "Get a token for a client's name and secret (RFC 6749, section 4.4), where the gateway gives them itself"
    )
    client = {"type": "oauth2", "flows": {"clientCredentials": flow}, "description": described}
    return {"client": client, "token": token}


def _security(api: Api, scope: str | None) -> list[Json]:
    """Return what lets a call in: any of these."""
    client = [{"client": [scope] if scope else []}] if api.layer == "experience" else []
    return [*client, {"token": []}]


def _content(kind: Any, as_of: VersionChain | None) -> Json:
    value: Any = msgspec.json.decode(msgspec.json.encode(sample(kind)))
    value = as_of.write(kind, value) if as_of else value
    (reference,), _ = msgspec.json.schema_components([kind], ref_template=SCHEMAS + "{name}")
    return {"schema": reference, "examples": {"usual": {"summary": "As it usually is", "value": value}}}


def _lines(kind: Any) -> Json:
    """Return what is said of a body that is lines of JSON: a text whose content is of the type that each line has."""
    (reference,), _ = msgspec.json.schema_components([kind], ref_template=SCHEMAS + "{name}")
    described = f"Lines, each with a {kind.__name__} as JSON"
    line = msgspec.json.encode(sample(kind)).decode()
    usual = {"summary": "As it usually is", "value": f"{line}\n"}
    schema = {"type": "string", "description": described, "contentMediaType": LINES, "contentSchema": reference}
    return {"schema": schema, "examples": {"usual": usual}}


def _parameter(found: Json) -> Json:
    schema: Json = found.get("schema", {})
    choices = [each for each in schema.get("oneOf", [schema]) if each.get("type") != "null"]
    schema = {
        key: value for key, value in _typed(choices[0]).items() if key not in {"description", "title", "examples"}
    }
    made: Json = {"name": found["name"], "in": found["in"], "required": found["required"]}
    made["description"] = found.get("description") or f"Only those whose {found['name']} is this"
    if "default" in found.get("schema", {}) and found["schema"]["default"] is not None:
        schema["default"] = found["schema"]["default"]
    made["schema"] = schema
    if found["name"] in PARAMETERS:
        example = PARAMETERS[found["name"]]
        made["example"] = [example] if schema.get("type") == "array" else example
    return made


def _key_parameter(operation: Operation) -> list[Json]:
    if operation.idempotency == "safe" or operation.open or operation.streamed:
        return []
    needed = operation.idempotency == "key"
    reported = "Names the act: the same key again is answered as the first time, for 24 h" + (
        "" if needed else ". May be left out"
    )
    schema = {"type": "string", "pattern": '^"?[!#-~]{1,255}"?$'}
    return [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": needed,
            "description": reported,
            "schema": schema,
            "example": "7f3e1c9a-order-1",
        }
    ]


def _links(route: Route, routes: Container[str]) -> Json:
    return {
        target: {
            "operationId": target,
            "parameters": {parameter: f"$response.body#{pointer}"},
            "description": f"`{parameter}` for {target}",
        }
        for target, (parameter, pointer) in route.declared.links.items()
        if target in routes
    }


# ---- problems


def _problems(found: Json, route: Route, api: Api) -> list[ProblemType]:
    operation = route.operation
    made = [problems.INTERNAL, problems.OVERLOADED, problems.UNAUTHENTICATED, problems.INVALID]
    if not operation.open:
        made.append(problems.FORBIDDEN)
    if any(each["in"] == "path" for each in found.get("parameters", ())):
        made.append(problems.MISSING)
    if operation.idempotency != "safe":
        made.append(problems.TOO_LARGE)
        made.append(problems.REQUEST)
    if operation.idempotency != "safe" and not operation.open and not operation.streamed:
        made += [STILL_RUNS, REUSED_KEY]
    if operation.idempotency == "key":
        made.append(MISSING_KEY)
    if api.layer == "experience":
        made += [THROTTLED, FAULTS[Unavailable], FAULTS[UnknownOutcome]]
    if api.layer == "system" or route.declared.asks_platforms:
        made += FAULTS.values()
    return [*made, *route.declared.problems]


def _problem_references(given: Iterable[ProblemType]) -> Json:
    """Return references by status. Where several problems share one, they share an answer too."""
    by_status: dict[int, set[str]] = {}
    for each in given:
        by_status.setdefault(each.status, set()).add(each.name)
    return {
        str(status): {"$ref": "#/components/responses/" + "-or-".join(sorted(names))}
        for status, names in sorted(by_status.items())
    }


def _mentioned(paths: Json) -> set[str]:
    text = msgspec.json.encode(paths).decode()
    return set(re.findall(r"#/components/responses/([a-z-]+)", text))


def _problem_answers(mentioned: set[str]) -> Json:
    return {name: _problem_answer([problems.TYPES[each] for each in name.split("-or-")]) for name in sorted(mentioned)}


def _problem_answer(types: list[ProblemType]) -> Json:
    examples = {
        each.name: {
            "summary": each.title,
            "value": msgspec.to_builtins(
                Problem(each.uri, each.title, each.status, f"{each.title}.", each.remedy, COR)
            ),
        }
        for each in types
    }
    made: Json = {
        "description": "; ".join(f"{each.title} (`{each.name}`)" for each in types),
        "content": {CONTENT_TYPE: {"schema": {"$ref": SCHEMAS + "Problem"}, "examples": examples}},
    }
    if any(each.status in {429, 503} for each in types):
        seconds = {"type": "integer", "minimum": 0}
        made["headers"] = {"Retry-After": {"description": "Seconds to wait", "schema": seconds}}
    return made


# ---- versions


def _with_its_life(document: Json, life: Version) -> Json:
    if life.state != "deprecated":
        return document
    end = f", and answers 410 from {life.sunset_on} on" if life.sunset_on else ""
    document["info"]["description"] += f" Deprecated since {life.deprecated_on}{end}; {life.way_on}."
    document["components"]["responses"][ENDED.name] = _problem_answer([ENDED])
    for operation in (each for item in document["paths"].values() for each in item.values()):
        operation["deprecated"] = True
        operation["responses"]["410"] = {"$ref": "#/components/responses/" + ENDED.name}
        for status, answer in operation["responses"].items():
            if status.startswith("2"):
                answer["headers"] = {
                    "Deprecation": {"description": "Since when (RFC 9745)", "schema": {"type": "string"}},
                    "Sunset": {"description": "Until when (RFC 8594)", "schema": {"type": "string"}},
                    "Link": {
                        "description": "The successor, if there is one, and the page that explains the end (RFC 8288)",
                        "schema": {"type": "string"},
                    },
                }
    return document


# ---- schemas


def _typed(schema: Any) -> Any:
    """Return a schema as msgspec writes it, with the types of enumerations, which generators of clients ask for."""
    if isinstance(schema, list):
        return [_typed(each) for each in schema]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(schema, dict):
        return schema
    made: Json = {key: _typed(value) for key, value in schema.items()}  # pyright: ignore[reportUnknownVariableType]
    choices = made.get("enum")
    if choices == STATES:
        meanings = [f"- `{state}`: {meaning}" for state, meaning in MEANING.items()]
        made["description"] = "\n".join(([f"{made['description']}\n"] if "description" in made else []) + meanings)
    if isinstance(choices, list) and "type" not in made and all(isinstance(each, str) for each in choices):  # pyright: ignore[reportUnknownVariableType]
        made["type"] = "string"
    return made


def _name(name: str) -> str:
    """Return the name of a schema: `Page_OrderSummary_` reads as `OrderSummaryPage`."""
    found = PAGE.fullmatch(name)
    return f"{found[1]}Page" if found else name


def _renamed(document: Json) -> Json:
    text = msgspec.json.encode(document).decode()
    return msgspec.json.decode(re.sub(rf"{SCHEMAS}(Page_\w+_)", lambda found: SCHEMAS + _name(found[1]), text))


def _close(document: Json, taken: list[Any]) -> None:
    """Close the schemas of requests: they have no field that the contract does not know; answers may grow."""
    _, inner = msgspec.json.schema_components(taken, ref_template=SCHEMAS + "{name}")
    for name in inner:
        schema = document["components"]["schemas"][_name(name)]
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False


def _structs(kinds: Iterable[Any]) -> dict[str, type]:
    """Return every struct that the types are made of, by the name of its schema."""
    found: dict[str, type] = {}
    pending = list(kinds)
    while pending:
        kind = pending.pop()
        if get_origin(kind) is Page:
            pending += get_args(kind)
        elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            if kind.__name__ not in found:
                found[kind.__name__] = kind
                pending += [field.type for field in msgspec.structs.fields(kind)]
        else:
            pending += get_args(kind)
    return found
