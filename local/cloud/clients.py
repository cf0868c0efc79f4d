"""boto3 clients of the cloud's own endpoint, as root of an account."""

import functools
import os

import boto3
from botocore.config import Config

_session = boto3.session.Session()
_config = Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})


class Account:
    """Clients of one account and region."""

    def __init__(self, account, region):
        self.account, self.region = account, region

    @functools.lru_cache(maxsize=32)
    def client(self, service):
        """A client of this service."""
        return _session.client(service, endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=self.region, config=_config,
                               aws_access_key_id=self.account, aws_secret_access_key="test")


def of(account, region):
    """The clients of an account."""
    return Account(account, region)

