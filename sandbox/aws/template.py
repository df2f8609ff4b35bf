"""Loads a SAM template as CloudFormation gets it: parameters checked, SAM translated, code left in its folder."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.iam.aws_managed_policies import aws_managed_policies_data
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import intrinsics_multi_constructor
from yaml import CSafeLoader, YAMLError

# SAM translates only templates whose code is in S3. `sam deploy` uploads it; here the key is the code's path.
CODE_BUCKET = "sandbox-code"


class _Loader(CSafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """libyaml's loader with CloudFormation's tags. The Python loader that samtranslator uses is ten times slower."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


class TemplateError(Exception):
    """The template or a parameter is invalid. The message names the part and the problem."""


@dataclass(frozen=True)
class Template:
    """A translated template: `body` is plain CloudFormation, `parameters` has every parameter as text.

    `directory` is the folder of the template; paths in it are relative to that folder.
    """

    body: dict[str, Any]
    parameters: dict[str, str]
    directory: Path

    def code(self, location: Mapping[str, str]) -> Path:
        """The directory that a translated `Code` or `Content` property refers to."""
        if location.get("S3Bucket") != CODE_BUCKET:
            raise TemplateError(f"the sandbox runs only code from the folder of the template, not {dict(location)}")
        return self.directory / location["S3Key"]


def parse_yaml(text: str) -> Any:
    """A template or a definition as Python values, where !Ref, !Sub and the like are dictionaries."""
    return _Loader(text).get_single_data()


def load(path: Path, parameters: Mapping[str, str], region: str) -> Template:
    """Read and translate the SAM template at `path`.

    Raises TemplateError when it can't be read or translated, or when a parameter breaks its constraints.
    """
    try:
        sam = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise TemplateError(f"{path}: {error}") from error
    values = _parameter_values(sam.get("Parameters", {}), parameters)
    _check_rules(sam.get("Rules", {}), values)
    for resource in sam["Resources"].values():
        _use_local_files(resource, path.parent)
    _use_local_files(
        {"Type": "AWS::Serverless::Function", "Properties": sam.get("Globals", {}).get("Function", {})}, path.parent
    )
    return Template(_translate(sam, values, path, region), values, path.parent.resolve())


def _translate(sam: dict[str, Any], values: dict[str, str], path: Path, region: str) -> dict[str, Any]:
    translator = Translator(None, Parser(), boto_session=boto3.Session(region_name=region))
    try:
        translated: dict[str, Any] = translator.translate(
            sam, parameter_values=dict(values), get_managed_policy_map=_managed_policies
        )
    except InvalidDocumentException as error:
        raise TemplateError("\n".join([f"{path}: {error.message}", *(e.message for e in error.causes)])) from error
    finally:
        # It publishes nothing, but without this call it warns on standard error.
        translator.metrics.publish()
    # SAM's strings are of a subclass; the JSON round trip makes them plain.
    plain: dict[str, Any] = json.loads(json.dumps(translated, default=str))
    return plain


def _managed_policies() -> dict[str, str]:
    return {name: policy["Arn"] for name, policy in json.loads(aws_managed_policies_data).items()}


def _use_local_files(resource: dict[str, Any], directory: Path) -> None:
    """Make a resource use the files next to the template that it refers to, as `sam deploy` makes it use S3."""
    properties = resource.get("Properties", {})
    match resource["Type"]:
        case "AWS::Serverless::Function":
            _use_local_code(properties, "CodeUri", directory)
        case "AWS::Serverless::LayerVersion":
            _use_local_code(properties, "ContentUri", directory)
        case "AWS::Serverless::StateMachine":
            _include_definition(properties, directory)
        case "AWS::CloudFormation::Stack":
            _require_file(properties.get("TemplateURL"), directory)


def _use_local_code(properties: dict[str, Any], name: str, directory: Path) -> None:
    uri = properties.get(name)
    if isinstance(uri, str) and not uri.startswith("s3://"):
        if not (directory / uri).is_dir():
            raise TemplateError(f"{name} {uri!r}: there is no such directory in {directory}")
        properties[name] = f"s3://{CODE_BUCKET}/{Path(uri).as_posix()}"


def _include_definition(properties: dict[str, Any], directory: Path) -> None:
    if isinstance(properties.get("DefinitionUri"), str):
        definition = directory / properties.pop("DefinitionUri")
        try:
            properties["Definition"] = parse_yaml(definition.read_text(encoding="utf-8"))
        except (OSError, YAMLError) as error:
            raise TemplateError(f"{definition}: {error}") from error


def _require_file(nested: Any, directory: Path) -> None:
    if not isinstance(nested, str) or "://" in nested:
        raise TemplateError(f"TemplateURL {nested!r}: the sandbox deploys only templates from files")
    if not (directory / nested).is_file():
        raise TemplateError(f"TemplateURL {nested!r}: there is no such file in {directory}")


def _parameter_values(declared: dict[str, dict[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise TemplateError(f"the template has no parameter {', '.join(unknown)}; it has {', '.join(sorted(declared))}")
    values = {}
    for name, declaration in declared.items():
        if name not in given and "Default" not in declaration:
            raise TemplateError(f"parameter {name} has no default and was not given")
        values[name] = _as_text(given[name] if name in given else declaration["Default"])
        _check(name, declaration, values[name])
    return values


def _check_rules(rules: Mapping[str, dict[str, Any]], values: Mapping[str, str]) -> None:
    """Check the parameters by the template's rules, as CloudFormation does before it creates a stack."""
    for name, rule in rules.items():
        if evaluate(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values):
            for assertion in rule["Assertions"]:
                if not evaluate(assertion["Assert"], values):
                    raise TemplateError(f"rule {name}: {assertion.get('AssertDescription', assertion['Assert'])}")


def evaluate(condition: Any, values: Mapping[str, str], conditions: Mapping[str, Any] = {}) -> bool:
    """Evaluate a condition, given the parameters' values and the conditions that it may refer to."""
    ((function, operands),) = condition.items()
    if function == "Condition":
        return evaluate(conditions[operands], values, conditions)
    if function == "Fn::Equals":
        one, other = (_value(side, values) for side in operands)
        return _as_text(one) == _as_text(other)
    results = [evaluate(operand, values, conditions) for operand in operands]
    return {"Fn::And": all(results), "Fn::Or": any(results), "Fn::Not": not results[0]}[function]


def _value(part: Any, values: Mapping[str, str]) -> Any:
    """Evaluate one side of a comparison."""
    if not isinstance(part, dict):
        return part
    ((function, argument),) = part.items()
    if function == "Ref":
        return values[argument]
    first, second = argument
    if function == "Fn::Select":
        return _value(second, values)[int(first)]
    if function == "Fn::Split":
        return _value(second, values).split(first)
    return first.join(_value(one, values) for one in second)  # Fn::Join


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(name: str, declaration: dict[str, Any], value: str) -> None:
    """Check a parameter by its declaration, as CloudFormation does before it creates a stack."""
    kind = declaration.get("Type", "String")
    items = value.split(",") if kind.startswith(("List<", "CommaDelimitedList")) else [value]
    if "Number" in kind:
        _require(name, declaration, all(map(_is_number, items)), f"{value!r} is not a number")
    for constraint, holds in _CONSTRAINTS.items():
        if constraint in declaration:
            limit = declaration[constraint]
            ok = all(holds(item, limit) for item in items)
            _require(name, declaration, ok, f"{value!r} breaks {constraint} {limit}")


_CONSTRAINTS: dict[str, Callable[[str, Any], bool]] = {
    "MinValue": lambda value, limit: float(value) >= float(limit),
    "MaxValue": lambda value, limit: float(value) <= float(limit),
    "MinLength": lambda value, limit: len(value) >= int(limit),
    "MaxLength": lambda value, limit: len(value) <= int(limit),
    "AllowedValues": lambda value, allowed: value in map(_as_text, allowed),
    "AllowedPattern": lambda value, pattern: re.fullmatch(pattern, value) is not None,
}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require(name: str, declaration: dict[str, Any], ok: bool, why: str) -> None:
    if not ok:
        hint = declaration.get("ConstraintDescription", "")
        raise TemplateError(f"parameter {name}: {why}" + (f" ({hint})" if hint else ""))
