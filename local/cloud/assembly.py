"""Joins MiniStack, moto and our own parts into one application.

Imported after the environment is set: MiniStack reads it when it is imported.
"""

import threading

import ministack.app

from . import (beanstalk, checksums, delivery, ecs_deployments, function_updates, functions, iam, kms_accounts, metrics,
               own_api, packages, queue_batches, rds_front, replication, s3_accounts, secret_rotation, ssm_limits, states)

_WARMED_MAJOR = 17


def build(place, functions_folder, endpoint, time_scale):
    """The ASGI application."""
    rds_front.install(place)
    iam.install()
    kms_accounts.install()
    functions.install(endpoint, _stand_ins(place))
    function_updates.install()
    packages.install()
    delivery.install()
    queue_batches.install()
    ssm_limits.install()
    checksums.install()
    replication.install()
    s3_accounts.install()
    metrics.install()
    states.install(time_scale)
    secret_rotation.install()
    ecs_deployments.install()
    beanstalk.install()
    api = own_api.Api(functions_folder)
    async def application(scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith("/_lifeboat/"):
            return await api(scope, receive, send)
        return await ministack.app.app(scope, receive, send)

    return application


def warm(place):
    """Prepare in the background what takes long and is needed soon; call it when the cloud serves."""
    def work():
        from . import deploy        # noqa: F401 - imported for its time

        rds_front.plane()
        if _WARMED_MAJOR in place.majors():
            place.template(_WARMED_MAJOR)

    threading.Thread(target=work, daemon=True, name="warm").start()


def _stand_ins(place):
    """What the layers would bring: PostgreSQL's client programs and the authority that RDS's certificates chain to."""
    variables = {"DATABASE_CA_FILE": place.authority.file}
    if _WARMED_MAJOR in place.majors():
        variables["POSTGRES_CLIENT_FOLDER"] = place.bin(_WARMED_MAJOR)
    return variables
