"""Subnet groups and parameter groups of the RDS plane: what a request names, what RDS takes when it names nothing.

A parameter group's settings that PostgreSQL knows are those of the server; RDS's own (`rds.…`) and those that the plane
needs for itself are stored and shown only. Source: RDS User Guide, "Working with parameter groups"; the API reference.
"""

import functools
import glob
import os
import subprocess
import types

import ministack.services.ec2 as ec2
from ministack.core.responses import request_scope
from moto.core.responses import ActionResult
from moto.rds import exceptions, models, responses
from moto.rds.exceptions import RDSClientError

# Of the server itself: RDS lets nobody set them either, or a server here could not be reached.
_OURS = ("listen_addresses", "port", "unix_socket_directories", "data_directory", "config_file", "hba_file", "ident_file",
         "external_pid_file", "fsync", "full_page_writes", "shared_buffers", "dynamic_shared_memory_type", "archive_mode",
         "archive_command", "archive_library", "restore_command", "wal_recycle", "wal_init_zero", "hot_standby",
         "password_encryption", "log_directory", "log_filename", "log_destination", "logging_collector", "huge_pages")
_OURS_BEGIN = ("rds.", "ssl", "recovery_target", "krb_")
_STATIC_OF_RDS = ("rds.logical_replication", "rds.extensions", "rds.restrict_password_commands")
_AVAILABILITY_ZONES_MIN = 2


@functools.lru_cache
def known(bin_folder):
    """PostgreSQL's settings by name: the context in which each can be changed."""
    shown = subprocess.run([os.path.join(bin_folder, "postgres"), "--describe-config"], capture_output=True, text=True)
    return {parts[0].lower(): parts[1] for parts in (line.split("\t") for line in shown.stdout.splitlines())
            if len(parts) > 1}


def is_static(name, bin_folder):
    """Whether a change takes effect at the next start only."""
    return name in _STATIC_OF_RDS or known(bin_folder).get(name) == "postmaster"


def server_settings(group, bin_folder):
    """Those of a group's settings that the server gets."""
    found = {}
    for name, parameter in sorted((group.parameters if group else {}).items()):
        value = parameter.get("ParameterValue")
        ours = name in _OURS or name.startswith(_OURS_BEGIN)
        # A value with braces is a formula over the instance's class.
        if value is None or ours or "{" in value or not (name in known(bin_folder) or "." in name):
            continue
        found[name] = _libraries(value, bin_folder) if name == "shared_preload_libraries" else value
    return found


def _libraries(value, bin_folder):
    """Those that exist: RDS has some that nobody else has."""
    wanted = [one.strip() for one in value.split(",") if one.strip()]
    root = os.path.dirname(bin_folder)
    return ",".join(one for one in wanted if glob.glob(f"{glob.escape(root)}/lib*/**/{glob.escape(one)}.so", recursive=True))


class Groups:
    """The part of the backend that keeps both sorts of groups."""

    def create_db_parameter_group(self, db_parameter_group_kwargs):
        name = db_parameter_group_kwargs["db_parameter_group_name"].lower()
        return super().create_db_parameter_group({**db_parameter_group_kwargs, "db_parameter_group_name": name})

    def modify_db_parameter_group(self, db_parameter_group_name, db_parameter_group_parameters):
        group = self.parameter_group(db_parameter_group_name)
        changes = [dict(one) for one in db_parameter_group_parameters]
        bin_folder = self.bin_of_family(group.family)
        for change in changes:
            name = change["ParameterName"] = change["ParameterName"].lower()
            if name not in known(bin_folder) and "." not in name:
                raise RDSClientError("InvalidParameterValue", f"Invalid parameter name: {name}")
            static = is_static(name, bin_folder)
            if static and change.get("ApplyMethod") == "immediate":
                raise RDSClientError("InvalidParameterCombination",
                                     "cannot use immediate apply method for static parameter")
            change |= {"ApplyType": "static" if static else "dynamic", "Source": "user", "IsModifiable": True}
        group.update_parameters(changes)
        self._spread(group, any(one.get("ApplyMethod") == "pending-reboot" for one in changes))
        return group

    def _spread(self, group, pending):
        """Dynamic settings reach the servers that run with the group already; the rest waits for their reboot."""
        for instance in list(self.databases.values()):
            if instance.db_parameter_group_name != group.name or not hasattr(instance, "server"):
                continue
            if pending:
                instance.parameter_status = "pending-reboot"
            elif instance.parameter_status == "in-sync" and instance.server.running():
                instance.server.settings = server_settings(group, instance.server.bin())
                instance.server.reload()

    def delete_db_parameter_group(self, db_parameter_group_name):
        group = self.parameter_group(db_parameter_group_name)
        if any(one.db_parameter_group_name == group.name for one in self.databases.values()):
            raise RDSClientError("InvalidDBParameterGroupState", "One or more database instances are still members of this "
                                 f"parameter group {group.name}, so the group cannot be deleted")
        return super().delete_db_parameter_group(group.name)

    def delete_subnet_group(self, subnet_name):
        if any(one.subnet_group_name == subnet_name for one in self.databases.values() if hasattr(one, "server")):
            raise RDSClientError("InvalidDBSubnetGroupStateFault",
                                 f"Cannot delete the subnet group '{subnet_name}' because at least one database uses it.")
        return super().delete_subnet_group(subnet_name)

    def parameter_group(self, name):
        """A group by name; raises `DBParameterGroupNotFound`."""
        found = self.db_parameter_groups.get((name or "").lower())
        if found is None:
            raise exceptions.DBParameterGroupNotFoundError(name)
        return found

    def settings_of(self, instance):
        """The server settings of an instance by its group; the default groups change nothing."""
        group = self.db_parameter_groups.get(instance.db_parameter_group_name or "")
        return server_settings(group, instance.server.bin()) if group else {}

    is_static = staticmethod(is_static)

    def bin_of_family(self, family):
        """The programs of a parameter group's major version."""
        major = (family or "").removeprefix("postgres")
        if not major.isdigit() or int(major) not in self.place.majors():
            raise RDSClientError("InvalidParameterValue", f"ParameterGroupFamily {family} is not a valid parameter group "
                                 "family")
        return self.place.bin(int(major))

    def check_parameter_group(self, name, major):
        """The group must exist and be of the engine's family."""
        if name and not name.startswith("default."):
            family = self.parameter_group(name).family
            if family != f"postgres{major}":
                raise RDSClientError("InvalidParameterCombination", f"The parameter group {name} with DBParameterGroupFamily "
                                     f"{family} can't be used for this instance. Please use a parameter group with "
                                     f"DBParameterGroupFamily postgres{major}")

    def network(self, arguments):
        """Complete an instance's subnet and security groups as RDS does; raises when they do not fit each other."""
        with request_scope(self.account_id, self.region_name):
            ec2._ensure_defaults_initialized()
            name = arguments.get("db_subnet_group_name")
            if name is None or name == "default":
                group = self._default_subnet_group()
            else:
                group = self.describe_db_subnet_groups(name.lower())[0]
            arguments["db_subnet_group_name"] = group.name
            wanted = arguments.get("vpc_security_group_ids") or []
            for one in wanted:
                found = ec2._security_groups.get(one)
                if found is None:
                    raise RDSClientError("InvalidParameterValue", f"Invalid security group , groupId= {one}, groupName=.")
                if found["VpcId"] != group.vpc_id:
                    raise RDSClientError("InvalidParameterCombination", "The DB instance and EC2 security group are in "
                                         f"different VPCs. The DB instance is in {group.vpc_id} and the EC2 security group "
                                         f"is in {found['VpcId']}")
            if not wanted:
                arguments["vpc_security_group_ids"] = [
                    one["GroupId"] for one in ec2._security_groups.values()
                    if one["VpcId"] == group.vpc_id and one["GroupName"] == "default"][:1]
            return group

    def _default_subnet_group(self):
        if "default" not in self.subnet_groups:
            subnets = [one["SubnetId"] for one in ec2._subnets.values() if one["VpcId"] == ec2._DEFAULT_VPC_ID]
            self.subnet_groups["default"] = models.DBSubnetGroup(self, "default", "default", self.subnets(subnets), [])
        return self.subnet_groups["default"]

    def subnets(self, ids):
        """Subnets of EC2 as a subnet group wants them; they must exist, in one network, in two zones at least."""
        with request_scope(self.account_id, self.region_name):
            ec2._ensure_defaults_initialized()
            found = [ec2._subnets.get(one) for one in ids]
        if not found or None in found:
            raise RDSClientError("InvalidSubnet", f"Some input subnets in :{list(ids)} are invalid.")
        if len({one["VpcId"] for one in found}) > 1:
            raise RDSClientError("InvalidSubnet", "The requested subnets are not in one VPC.")
        if len({one["AvailabilityZone"] for one in found}) < _AVAILABILITY_ZONES_MIN:
            raise RDSClientError("DBSubnetGroupDoesNotCoverEnoughAZs", "The DB subnet group doesn't meet Availability Zone "
                                 "(AZ) coverage requirement. Please add subnets to cover at least "
                                 f"{_AVAILABILITY_ZONES_MIN} AZs.")
        return [types.SimpleNamespace(id=one["SubnetId"], availability_zone=one["AvailabilityZone"], vpc_id=one["VpcId"])
                for one in found]

    def has_way_out(self, vpc_id):
        """Whether the network has an internet gateway: without other word, RDS makes an instance in it public."""
        with request_scope(self.account_id, self.region_name):
            return any(one.get("VpcId") == vpc_id for gateway in ec2._internet_gateways.values()
                       for one in gateway.get("Attachments", []))

    def put_subnet_group(self, name, description, ids, tags):
        """Make or change a subnet group."""
        group = self.subnet_groups.get(name.lower())
        if group is None:
            return self.create_subnet_group(name.lower(), description, self.subnets(ids), tags or [])
        group.description, group._subnets = description or group.description, self.subnets(ids)
        return group


def _create_db_subnet_group(self):
    given = self.params.get
    if given("DBSubnetGroupName").lower() in self.backend.subnet_groups:
        raise RDSClientError("DBSubnetGroupAlreadyExists",
                             f"The DB subnet group '{given('DBSubnetGroupName')}' already exists.")
    return _subnet_group(self)


def _modify_db_subnet_group(self):
    self.backend.describe_db_subnet_groups(self.params.get("DBSubnetGroupName").lower())
    return _subnet_group(self)


def _subnet_group(self):
    given = self.params.get
    group = self.backend.put_subnet_group(given("DBSubnetGroupName"), given("DBSubnetGroupDescription"),
                                          given("SubnetIds", []), given("Tags", []))
    return ActionResult({"DBSubnetGroup": group})


def _group_statuses(instance):
    name = instance.db_parameter_group_name or instance.default_db_parameter_group_details()[1]
    return [{"DBParameterGroupName": name, "ParameterApplyStatus": getattr(instance, "parameter_status", "in-sync")}]


def install():
    """Put these into moto's instances and answers."""
    models.DBInstance.db_parameter_group_status_list = property(_group_statuses)
    responses.RDSResponse.create_db_subnet_group = _create_db_subnet_group
    responses.RDSResponse.modify_db_subnet_group = _modify_db_subnet_group
