"""IAM database authentication: a token of IAM in the place of a password, for members of `rds_iam`.

RDS checks the token by PAM. Stock PostgreSQL 15 of Debian is built with LDAP, so there the server asks us by a simple
bind (ldap_responder.py): is this a token of `rds-db:connect` for this host, port and user, signed within its 15 minutes by
somebody whose policies allow it? The servers of the wheels have neither PAM nor LDAP: members are refused there, with the
SQLSTATE of a wrong token (gaps.py).

Source: RDS User Guide, "IAM database authentication for MariaDB, MySQL, and PostgreSQL". Nothing of a token is logged but
why it was refused.
"""

import functools
import logging

import ministack.core.rds_iam as rds_iam
from ministack.core.responses import request_scope
from moto.rds import models

from . import iam, ldap_responder

_log = logging.getLogger("lifeboat.rds.logins")


@functools.lru_cache
def port():
    """The port of the responder, started when it is first needed."""
    return ldap_responder.start(decide)


def prefix(account, region, resource_id):
    """What stands before the user in the name of a bind: whose server asks."""
    return f"{account}/{region}/{resource_id}/"


def decide(name, token):
    """Whether this token lets this user in."""
    account, region, resource_id, user = name.split("/", 3)
    instance = next((one for one in models.rds_backends[account][region].databases.values()
                     if one.dbi_resource_id == resource_id), None)
    why = _refused(instance, account, region, user, token) if instance is not None else "no such instance"
    if why is not None:
        _log.warning("login of %s at %s refused: %s", user, resource_id, why)
    return why is None


def _refused(instance, account, region, user, token):
    if not instance.enable_iam_database_authentication:
        return "IAM database authentication is off"
    with request_scope(account, region):
        verified = rds_iam.verify_rds_iam_token(token, hostname=instance.server.address, port=instance.server.port,
                                                db_user=user, region=region, account_id=account)
        if isinstance(verified, rds_iam.RdsIamTokenError):
            return verified.code
        arn = f"arn:aws:rds-db:{region}:{account}:dbuser:{instance.dbi_resource_id}/{user}"
        denied = iam.decide(verified.access_key_id, "rds-db:connect", "rds-db", region, arn, {})
        return None if denied is None else "rds-db:connect is not allowed"
