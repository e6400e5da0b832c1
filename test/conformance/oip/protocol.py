"""python protocol.py <module>: the Open Inference Protocol as a package's generated module has it, in the form of proto/lock.json."""

import json
import sys
from importlib import import_module

from google.protobuf.descriptor import Descriptor, FieldDescriptor

SCALARS = {number: name[5:].lower() for name, number in vars(FieldDescriptor).items() if name.startswith("TYPE_")}


def type_of(field: FieldDescriptor) -> str:
    kind = field.message_type
    if kind and kind.GetOptions().map_entry:
        key, value = (type_of(kind.fields_by_name[name]) for name in ("key", "value"))
        return f"map<{key}, {value}>"
    name = kind.full_name if kind else SCALARS[field.type]
    return f"repeated {name}" if field.is_repeated else name


def field_of(field: FieldDescriptor) -> dict:
    oneof = {"oneof": field.containing_oneof.name} if field.containing_oneof else {}
    return {"name": field.name, "type": type_of(field), **oneof}


def messages_of(message: Descriptor) -> dict:
    fields = {str(field.number): field_of(field) for field in message.fields}
    nested = [messages_of(kind) for kind in message.nested_types if not kind.GetOptions().map_entry]
    return {message.full_name: fields} | {name: of for part in nested for name, of in part.items()}


file = import_module(sys.argv[1]).DESCRIPTOR
messages = {name: of for message in file.message_types_by_name.values() for name, of in messages_of(message).items()}
services = {
    service.full_name: {
        method.name: f"{method.input_type.name} -> {method.output_type.name}" for method in service.methods
    }
    for service in file.services_by_name.values()
}
print(json.dumps({"messages": messages, "services": services}))
