"""Imports moto's services that templates rarely use only on demand.

moto 5.2.5: CloudFormation imports every service that it has resources of; EC2 alone takes as long as all that the
sandbox uses. With `defer`, it is imported with placeholders for the services below. Nothing but
`moto.cloudformation.parsing` refers to them.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

# moto's packages by the prefix of their resource types.
_ON_DEMAND = {
    "AWS::ApiGateway::": "apigateway",
    "AWS::AutoScaling::": "autoscaling",
    "AWS::Batch::": "batch",
    "AWS::DataPipeline::": "datapipeline",
    "AWS::EC2::": "ec2",
    "AWS::ECS::": "ecs",
    "AWS::EFS::": "efs",
    "AWS::ElasticLoadBalancing::": "elb",
    "AWS::ElasticLoadBalancingV2::": "elbv2",
    "AWS::EMR::": "emr",
    "AWS::IoT::": "iot",
    "AWS::RDS::": "rds",
    "AWS::Redshift::": "redshift",
    "AWS::Route53::": "route53",
    "AWS::SageMaker::": "sagemaker",
    "AWS::SSM::": "ssm",
}
_PACKAGES = {f"moto.{name}" for name in _ON_DEMAND.values()}
_IMPORTERS = {
    "moto.cloudformation.parsing",
    "moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch",
}


class _Placeholder(ModuleType):
    """Stands for a package that is not imported, or its `models`; each name in it is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Unimported,), {"module_name": self.__name__})


class _Unimported:
    module_name: str


class _Finder(MetaPathFinder, Loader):
    """Finds placeholders for the packages; their other modules, such as `moto.batch.utils`, are the real ones."""

    def find_spec(self, name: str, _path: Any, _target: Any = None) -> ModuleSpec | None:
        package, module = ".".join(name.split(".")[:2]), name.split(".")[2:3]
        if package not in _PACKAGES or module not in ([], ["models"]):
            return None
        return ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Placeholder(spec.name)
        module.__path__ = [str(Path(sys.modules["moto"].__path__[0], *spec.name.split(".")[1:]))]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Leave it empty."""


@contextmanager
def _placeholders() -> Iterator[None]:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Placeholder)]:
            parent, _, own = name.rpartition(".")
            if parent in sys.modules:
                vars(sys.modules[parent]).pop(own, None)
            del sys.modules[name]


class _Deferring(MetaPathFinder):
    """Imports the modules that would import the services with placeholders instead."""

    def find_spec(self, name: str, path: Any, _: Any = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in _IMPORTERS else None
        if spec and spec.loader:
            spec.loader = _LoaderWithPlaceholders(spec.loader)
        return spec


class _LoaderWithPlaceholders(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        with _placeholders():
            self._loader.exec_module(module)


def defer() -> None:
    """Import the services on demand, unless CloudFormation is imported already."""
    if not any(isinstance(finder, _Deferring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Deferring())


def import_for(template: str) -> None:
    """Import the services whose resource types, or parameter types, appear in a template's text."""
    for prefix, package in _ON_DEMAND.items():
        if prefix in template:
            importlib.import_module(f"moto.{package}.models")
    parsing = importlib.import_module("moto.cloudformation.parsing")
    for name, value in vars(parsing).items():
        if isinstance(value, type) and issubclass(value, _Unimported) and value.module_name in sys.modules:
            setattr(parsing, name, getattr(sys.modules[value.module_name], value.__name__))
    for cached in (parsing.get_model_list, parsing.get_model_map, parsing.get_name_type_map):
        cached.cache_clear()
