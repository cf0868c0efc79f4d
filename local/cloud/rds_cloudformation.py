"""Subnet groups and parameter groups of a template: made in the RDS plane, not in MiniStack's own RDS.

Imported with CloudFormation, which takes half a second (deploy.py). Nothing of moto is imported here: that is for
`rds_front`, one thread at a time.
"""

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import provisioners

from . import rds_front

_STATIC, _DYNAMIC = "pending-reboot", "immediate"


def _backend():
    return rds_front.plane().backend(get_account_id(), get_region())


def _tags(properties):
    return [{"Key": one["Key"], "Value": one["Value"]} for one in properties.get("Tags") or []]


def _name(properties, key, stack_name, logical_id):
    return (properties.get(key) or provisioners._physical_name(stack_name, logical_id, lowercase=True, max_len=255)).lower()


def _subnet_group_create(logical_id, properties, stack_name):
    name = _name(properties, "DBSubnetGroupName", stack_name, logical_id)
    return _subnet_group_put(name, properties)


def _subnet_group_update(physical_id, _old, properties, _stack_name, logical_id=None):
    return _subnet_group_put(physical_id, properties)


def _subnet_group_put(name, properties):
    group = _backend().put_subnet_group(name, properties.get("DBSubnetGroupDescription", ""),
                                        properties.get("SubnetIds") or [], _tags(properties))
    group.tags = _tags(properties)
    return name, {"DBSubnetGroupArn": group.arn}


def _subnet_group_delete(physical_id, _properties):
    if physical_id in _backend().subnet_groups:
        _backend().delete_subnet_group(physical_id)


def _parameter_group_create(logical_id, properties, stack_name):
    name = _name(properties, "DBParameterGroupName", stack_name, logical_id)
    _backend().create_db_parameter_group({
        "db_parameter_group_name": name, "db_parameter_group_family": properties.get("Family"),
        "description": properties.get("Description"), "tags": _tags(properties)})
    return _parameter_group_set(name, properties)


def _parameter_group_update(physical_id, old, properties, _stack_name, logical_id=None):
    group = _backend().parameter_group(physical_id)
    for name in set(old.get("Parameters") or {}) - set(properties.get("Parameters") or {}):
        group.parameters.pop(name.lower(), None)
    return _parameter_group_set(physical_id, properties)


def _parameter_group_set(name, properties):
    """Each parameter by the method that its sort allows, as CloudFormation does."""
    backend = _backend()
    group = backend.parameter_group(name)
    bin_folder = backend.bin_of_family(group.family)
    changes = []
    for key, value in (properties.get("Parameters") or {}).items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if group.parameters.get(key.lower(), {}).get("ParameterValue") != text:
            method = _STATIC if backend.is_static(key.lower(), bin_folder) else _DYNAMIC
            changes.append({"ParameterName": key, "ParameterValue": text, "ApplyMethod": method})
    if changes:
        backend.modify_db_parameter_group(name, changes)
    group.tags = _tags(properties)
    return name, {"DBParameterGroupName": name, "DBParameterGroupArn": group.arn}


def _parameter_group_delete(physical_id, _properties):
    if physical_id in _backend().db_parameter_groups:
        _backend().delete_db_parameter_group(physical_id)


def install():
    """Replace MiniStack's makers of these resources."""
    for kind, create, update, delete in (
            ("AWS::RDS::DBSubnetGroup", _subnet_group_create, _subnet_group_update, _subnet_group_delete),
            ("AWS::RDS::DBParameterGroup", _parameter_group_create, _parameter_group_update, _parameter_group_delete)):
        provisioners._RESOURCE_HANDLERS[kind] = {**provisioners._RESOURCE_HANDLERS[kind], "create": create,
                                                 "update": update, "delete": delete}
