"""Makes `_schema.py`, types of all bodies, of the OpenAPI document; with --check only compares."""

from __future__ import annotations

import json
import keyword
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT.parent / "openapi.json"
TARGET = ROOT / "src" / "holdfast_client" / "_schema.py"
HEAD = '''"""Types of the API's bodies. Made from `clients/openapi.json` by tools/generate.py."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Union

from typing_extensions import NotRequired
'''
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = dict[str, Any]


def type_of(schema: Schema) -> str:
    """The Python type of a schema that is no object with properties."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if "enum" in schema:
        return "Literal[" + ", ".join(json.dumps(word) for word in schema["enum"]) + "]"
    for several in ("oneOf", "anyOf"):
        if several in schema:
            return union([type_of(one) for one in schema[several]])
    kinds = schema.get("type", "object")
    if isinstance(kinds, list):
        return union([type_of({**schema, "type": kind}) for kind in kinds])
    if kinds == "array":
        return f"list[{type_of(schema['items'])}]"
    return SCALARS.get(kinds, "dict[str, Any]")


def union(types: list[str]) -> str:
    """Any of these, None last."""
    types = sorted(dict.fromkeys(types), key=lambda one: one == "None")
    return " | ".join(types)


def members(schema: Schema, schemas: Schema) -> tuple[dict[str, Schema], set[str]]:
    """The properties of an object, and which of them are always there; of all parts of an allOf."""
    properties: dict[str, Schema] = {}
    required: set[str] = set()
    for part in schema.get("allOf", [schema]):
        whole = schemas[type_of(part)] if "$ref" in part else part
        if "allOf" in whole:
            more, always = members(whole, schemas)
        else:
            more, always = whole.get("properties", {}), set(whole.get("required", []))
        properties.update(more)
        required |= always
    return properties, required


def typed_dict(name: str, schema: Schema, schemas: Schema) -> str:
    """A TypedDict."""
    properties, required = members(schema, schemas)
    doc = " ".join(str(schema.get("description", name)).split()).replace('"', "'")
    fields = {
        field: type_of(of) if field in required else f"NotRequired[{type_of(of)}]"
        for field, of in sorted(properties.items())
    }
    if any(keyword.iskeyword(field) for field in fields):
        # Not a class: it could not have such a field.
        pairs = ", ".join(f"'{field}': '{kind}'" for field, kind in fields.items())
        return f'{name} = TypedDict("{name}", {{{pairs}}})'
    lines = [f"class {name}(TypedDict):", f'    """{doc}"""', ""]
    return "\n".join(lines + [f"    {field}: {kind}" for field, kind in fields.items()])


def variant_name(name: str, schema: Schema) -> str | None:
    """The name of one kind of message: by the word that its `type` always is."""
    words = schema.get("properties", {}).get("type", {}).get("enum", [])
    return name + "".join(part.title() for part in words[0].split("_")) if len(words) == 1 else None


def declaration(name: str, schema: Schema, schemas: Schema) -> list[str]:
    """The declarations of a component."""
    if "properties" in schema or "allOf" in schema:
        return [typed_dict(name, schema, schemas)]
    variants = [(variant_name(name, one), one) for one in schema.get("oneOf", [])]
    named = [(variant, one) for variant, one in variants if variant]
    if named:
        dicts = [typed_dict(variant, one, schemas) for variant, one in named]
        return [*dicts, f"{name} = Union[\n    " + ",\n    ".join(v for v, _ in named) + ",\n]"]
    alias = type_of(schema)
    return [f"{name} = " + (f"Union[{alias.replace(' | ', ', ')}]" if " | " in alias else alias)]


def depth(schema: Schema) -> int:
    """Aliases come before what uses them at run time."""
    return 0 if "enum" in schema else 1 if "properties" in schema or "allOf" in schema else 2


def generated() -> str:
    """The text of `_schema.py`."""
    schemas: Schema = json.loads(DOCUMENT.read_text())["components"]["schemas"]
    names = sorted(schemas, key=lambda name: (depth(schemas[name]), name))
    parts = [part for name in names for part in declaration(name, schemas[name], schemas)]
    text = HEAD + "\n" + "\n\n\n".join(parts) + "\n"
    return re.sub(r"(?m)^(\w+ = .*)\n\n\n(?=\w+ = )", r"\1\n", text)


def main() -> None:
    """The command line."""
    text = generated()
    if sys.argv[1:] != ["--check"]:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        raise SystemExit(f"{TARGET} is not what clients/openapi.json says: run tools/generate.py")


if __name__ == "__main__":
    main()
