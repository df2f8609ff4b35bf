"""CloudFormation: conditions, AWS::NoValue, the list of resources, and nested stacks."""

import json
from typing import Any, cast

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.models import Stack, cloudformation_backends

from sandbox.aws.moto_patches.patching import Context, Replace
from sandbox.aws.resources import current_deployment
from sandbox.aws.stacks import create_stack
from sandbox.aws.template import load


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    _parse_templates_as_json(replace)
    _compare_parameters_as_text(replace)
    _drop_no_value_from_lists(replace)
    _list_created_resources_only(replace)
    _create_nested_stacks(replace)
    _resolve_attributes_with_dots(replace)


def _parse_templates_as_json(replace: Replace) -> None:
    # moto 5.2.5: parses every template with PyYAML's pure Python loader. AWS: accepts JSON as well. The sandbox's
    # templates are JSON, which the standard library parses much faster.
    parse = Stack.parse_template

    def parse_json_first(template: str) -> dict[str, Any]:
        try:
            return cast(dict[str, Any], json.loads(template))
        except ValueError:
            return parse(template)

    replace(Stack, "parse_template", staticmethod(parse_json_first))


def _compare_parameters_as_text(replace: Replace) -> None:
    # moto 5.2.5: Fn::Equals finds that the parameter 0 differs from the text "0". AWS: compares parameters as text.
    parse = parsing.parse_condition

    def parse_as_text(condition: Any, resources: Any, conditions: Any) -> bool:
        if isinstance(condition, dict) and "Fn::Equals" in condition:
            one, other = (str(parsing.clean_json(side, resources)) for side in condition["Fn::Equals"])
            return one == other
        return parse(condition, resources, conditions)

    replace(parsing, "parse_condition", parse_as_text)


def _drop_no_value_from_lists(replace: Replace) -> None:
    # moto 5.2.5: AWS::NoValue leaves None in a list. AWS: removes the item.
    clean = parsing.clean_json

    def clean_lists(part: Any, resources: Any) -> Any:
        cleaned = clean(part, resources)
        return [one for one in cleaned if one is not None] if isinstance(cleaned, list) else cleaned

    replace(parsing, "clean_json", clean_lists)


def _list_created_resources_only(replace: Replace) -> None:
    # moto 5.2.5: lists a resource whose condition is false, without a name. AWS: does not list it.
    replace(Stack, "stack_resources", property(lambda self: [one for one in self.resource_map.values() if one]))


def _create_nested_stacks(replace: Replace) -> None:
    # moto 5.2.5: reads a nested template from S3, has no Fn::GetAtt for its outputs, no ParentId and RootId, and
    # identifies the stack by name. AWS: identifies it by ARN. `sam deploy` uploads the template; here it is a file.
    replace(Stack, "create_from_cloudformation_json", staticmethod(_create_nested_stack))
    replace(Stack, "physical_resource_id", property(lambda self: self.stack_id))
    replace(Stack, "get_cfn_attribute", _nested_output)
    replace(Stack, "parent_id", None)
    replace(Stack, "root_id", property(_root_id))


def _create_nested_stack(name: str, resource: dict[str, Any], _: str, region: str, **parent: Any) -> Stack:
    properties, directory = resource["Properties"], current_deployment().template.directory
    values = {
        key: ",".join(map(str, value)) if isinstance(value, list) else value
        for key, value in properties.get("Parameters", {}).items()
    }
    tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}
    stack: Any = create_stack(load(directory / properties["TemplateURL"], values, region), name, tags)
    stack.parent_id = parent["StackId"]
    return cast(Stack, stack)


def _root_id(stack: Any) -> str | None:
    if stack.parent_id is None:
        return None
    outer = cloudformation_backends[stack.account_id][stack.region_name].get_stack(stack.parent_id)
    return _root_id(outer) or outer.stack_id


def _nested_output(self: Stack, attribute: str) -> str:
    section, _, name = attribute.partition(".")
    output = self.output_map[name] if section == "Outputs" and name in self.output_map.outputs else None
    if output is None:
        raise UnformattedGetAttTemplateException
    return output.value


def _resolve_attributes_with_dots(replace: Replace) -> None:
    # moto 5.2.5: Fn::Sub cuts ${Nested.Outputs.Name} at every dot. AWS: at the first.
    clean = parsing.clean_json

    def clean_whole_attribute(part: Any, resources: Any) -> Any:
        if isinstance(part, dict) and len(part.get("Fn::GetAtt", ())) > 2:
            name, *attribute = part["Fn::GetAtt"]
            return clean({"Fn::GetAtt": [name, ".".join(attribute)]}, resources)
        return clean(part, resources)

    replace(parsing, "clean_json", clean_whole_attribute)
