"""How instances look to who judges their posture, and the answers that moto lacks: pages, quotas, pending maintenance."""

import datetime

from moto.core.responses import ActionResult
from moto.rds import models, responses
from moto.rds.exceptions import RDSClientError

_CERTIFICATE_DAYS = 365
CERTIFICATE_AUTHORITY = "rds-ca-rsa2048-g1"
_PAGE_DEFAULT, _PAGE_MIN, _PAGE_MAX = 100, 20, 100


def _posture(instance):
    return getattr(instance, "posture", {})


def _certificate_details(instance):
    till = instance.created + datetime.timedelta(days=_CERTIFICATE_DAYS)
    return {"CAIdentifier": instance.ca_certificate_identifier,
            "ValidTill": _posture(instance).get("certificate_valid_till") or till}


def paged(response, name, items):
    """One page of these, with the marker of the next."""
    size = int(response.params.get("MaxRecords") or _PAGE_DEFAULT)
    if not _PAGE_MIN <= size <= _PAGE_MAX:
        raise RDSClientError("InvalidParameterValue",
                             f"Invalid value {size} for MaxRecords. Must be between {_PAGE_MIN} and {_PAGE_MAX}")
    first = int(response.params.get("Marker") or 0)
    marker = str(first + size) if len(items) > first + size else None
    return ActionResult({name: items[first:first + size], "Marker": marker})


def filters(response):
    """The filters of a request: values by name."""
    return {one["Name"]: one["Values"] for one in response.params.get("Filters", [])}


def _describe_db_snapshots(self):
    given = self.params.get
    found = self.backend.describe_db_snapshots(
        given("DBInstanceIdentifier"), given("DBSnapshotIdentifier"), given("SnapshotType"), filters(self),
        include_shared=bool(given("IncludeShared")), dbi_resource_id=given("DbiResourceId"))
    return paged(self, "DBSnapshots", found)


def _describe_db_instances(self):
    found = self.backend.describe_db_instances(self.params.get("DBInstanceIdentifier"), filters=filters(self))
    return paged(self, "DBInstances", sorted(found, key=lambda one: one.db_instance_identifier))


def _describe_account_attributes(self):
    backend = self.backend
    storage = sum(one.allocated_storage for one in backend.databases.values())
    quotas = {"DBInstances": (len(backend.databases), backend.settings.instance_quota),
              "AllocatedStorage": (storage, 100_000),
              "ManualSnapshots": (backend.manual_snapshots(), backend.settings.snapshot_quota)}
    return ActionResult({"AccountQuotas": [{"AccountQuotaName": name, "Used": used, "Max": allowed}
                                           for name, (used, allowed) in quotas.items()]})


def _describe_pending_maintenance_actions(self):
    wanted = self.params.get("ResourceIdentifier")
    shown = []
    for instance in sorted(self.backend.databases.values(), key=lambda one: one.db_instance_identifier):
        actions = _posture(instance).get("pending_maintenance") or []
        if actions and wanted in (None, instance.arn):
            shown.append({"ResourceIdentifier": instance.arn, "PendingMaintenanceActionDetails": [
                {name: _moment(value) if name.endswith("Date") else value for name, value in action.items()}
                for action in actions]})
    return paged(self, "PendingMaintenanceActions", shown)


def _moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(datetime.timezone.utc).replace(
        tzinfo=None)


def install():
    """Put these into moto's instances and answers."""
    models.DBInstance.certificate_details = property(_certificate_details)
    for function in (_describe_db_snapshots, _describe_db_instances, _describe_account_attributes,
                     _describe_pending_maintenance_actions):
        setattr(responses.RDSResponse, function.__name__[1:], function)
