"""What an RDS request is authorised on: every resource it names, with the tags of each, and tagging at creation.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon RDS". A request that gives
tags to what it creates needs rds:AddTagsToResource too (RDS User Guide, "Grant permission to tag resources during
creation"). The source of a copy is authorised in its own region (there, "Requesting a cross-Region DB snapshot copy").
"""

from . import rds_front

_PARAMETERS = {
    "DBInstanceIdentifier": "db", "SourceDBInstanceIdentifier": "db", "TargetDBInstanceIdentifier": "db",
    "DBSnapshotIdentifier": "snapshot", "SourceDBSnapshotIdentifier": "snapshot",
    "TargetDBSnapshotIdentifier": "snapshot", "FinalDBSnapshotIdentifier": "snapshot",
    "DBSubnetGroupName": "subgrp", "DBParameterGroupName": "pg", "OptionGroupName": "og",
}
# A list call is checked on all instances (or snapshots) of the account.
_LISTS = {"DescribeDBInstances": "db", "DescribeDBSnapshots": "snapshot", "DescribePendingMaintenanceActions": "db",
          "DescribeDBInstanceAutomatedBackups": "auto-backup", "DescribeDBParameterGroups": "pg",
          "DescribeDBSubnetGroups": "subgrp"}
# These are authorised on a group of each sort, the default one if none is named.
_WITH_GROUPS = ("CreateDBInstance", "CreateDBInstanceReadReplica", "RestoreDBInstanceFromDBSnapshot",
                "RestoreDBInstanceToPointInTime")
# Action: the parameter that names what it creates.
_CREATES = {"CreateDBSnapshot": "DBSnapshotIdentifier", "CopyDBSnapshot": "TargetDBSnapshotIdentifier",
            "CreateDBInstance": "DBInstanceIdentifier", "CreateDBInstanceReadReplica": "DBInstanceIdentifier",
            "RestoreDBInstanceFromDBSnapshot": "DBInstanceIdentifier",
            "RestoreDBInstanceToPointInTime": "TargetDBInstanceIdentifier"}


def named(request, region, account):
    """ARNs of all resources the request names."""
    found = [_arn(region, account, kind, value) for parameter, kind in _PARAMETERS.items()
             if (value := request.parameter(parameter))]
    found += [value for parameter in ("ResourceName", "ResourceIdentifier")
              if (value := request.parameter(parameter)) is not None]
    kind = _LISTS.get(request.parameter("Action") or "")
    if kind and not any(f":{kind}:" in arn for arn in found):
        found.append(f"arn:aws:rds:{region}:{account}:{kind}:*")
    if request.parameter("Action") in _WITH_GROUPS:
        found += [_arn(region, account, kind, name) for kind, name in _default_groups(request, region, account)]
    return found or ["*"]


def _default_groups(request, region, account):
    """Kind and name of the groups that a new instance gets because the request names none."""
    plane = rds_front.loaded()
    source = request.parameter("DBSnapshotIdentifier") or request.parameter("SourceDBInstanceIdentifier")
    version = request.parameter("EngineVersion") or (plane and source and plane.engine_version(account, region, source))
    major = (version or "*").split(".")[0]
    for parameter, kind, name in (("OptionGroupName", "og", f"default:postgres-{major}"),
                                  ("DBParameterGroupName", "pg", f"default.postgres{major}"),
                                  ("DBSubnetGroupName", "subgrp", "default")):
        if not request.parameter(parameter):
            yield kind, name


def _arn(region, account, kind, value):
    return value if value.startswith("arn:") else f"arn:aws:rds:{region}:{account}:{kind}:{value}"


def implied(request, region, account):
    """`(action, ARN)` of what the request needs besides its own action."""
    parameter = _CREATES.get(request.parameter("Action") or "")
    if parameter and any(name.startswith("Tags.") for name in request.query):
        kind = "snapshot" if "Snapshot" in parameter else "db"
        yield "rds:AddTagsToResource", _arn(region, account, kind, request.parameter(parameter) or "")


def context(arn, account, given):
    """Condition keys of one resource: its tags, and those of the request in RDS's own words."""
    keys = {f"rds:req-tag/{name.split('/', 1)[1]}": value for name, value in given.items()
            if name.lower().startswith("aws:requesttag/")}
    parts = arn.split(":", 6)
    if len(parts) == 7 and parts[4] == account:
        for tag in _tags(parts[3], account, parts[5], parts[6]):
            keys[f"aws:ResourceTag/{tag['Key']}"] = keys[f"rds:{parts[5]}-tag/{tag['Key']}"] = tag["Value"]
    return keys


def region_of(arn, region):
    """The region in which a resource is authorised."""
    parts = arn.split(":", 6)
    return parts[3] if len(parts) == 7 and parts[5] == "snapshot" and parts[3] else region


def _tags(region, account, kind, name):
    plane = rds_front.loaded()
    return plane.tags(account, region, kind, name) if plane else []
