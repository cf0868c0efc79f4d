"""The template as CloudFormation sees it: SAM's transform, run without network or credentials.

A raw SAM template hides half of what is deployed (roles, permissions, event source mappings), and linters are blind to it.
It never talks to AWS.
"""

import logging
from pathlib import Path
from types import SimpleNamespace

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# The translator warns that nobody collects its usage metrics; nobody should.
logging.getLogger("samtranslator").setLevel(logging.ERROR)

ROOT = Path(__file__).resolve().parents[2]

# What a small team starts with, and everything switched the other way: both must be clean.
VARIANTS = {
    "defaults": {"Stage": "staging", "Instance": "app-db"},
    "everything": {
        "Stage": "prod",
        "Instance": "app-db",
        "VpcSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
        "VpcSecurityGroupIds": "sg-0123456789abcdef0",
        "InstanceKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-777777777777",
        "CopyRegion": "eu-west-1",
        "CopyKeyArn": "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-888888888888",
        "CopyAccountRoleArn": "arn:aws:iam::444455556666:role/vault-CopyRole",
        "CopyAccountKeyArn": "arn:aws:kms:eu-west-1:444455556666:key/11111111-2222-3333-4444-999999999999",
        "CopyAccountRetentionRoleArn": "arn:aws:iam::444455556666:role/vault-RetentionRole",
        "ReplicaBucketName": "example-replica",
        "ReplicaRegion": "eu-west-1",
        "ReplicaAccount": "444455556666",
        "ReplicaKeyArn": "arn:aws:kms:eu-west-1:444455556666:key/11111111-2222-3333-4444-000000000000",
        "VpcId": "vpc-0123456789abcdef0",
        "DrillInstanceClass": "db.t4g.medium",
        "DrillServerUrlParameter": "/example/drill-server-url",
        "DrillCopySubnetGroup": "drills",
        "DrillCopySecurityGroup": "sg-0123456789abcdef1",
        "DrillCopyParameterGroup": "drills",
        "CanaryDefinitions": "s3://example-config/canary.toml",
        "CanaryDefinitionsObjectArn": "arn:aws:s3:::example-config/canary.toml",
        "CanaryParameterArns": "arn:aws:ssm:eu-central-1:111122223333:parameter/example/health-token",
        "CanaryInVpc": "YES",
        "IntegrityUrlParameter": "/example/reader-url",
        "IntegrityChecksParameter": "/example/checks",
        "IntegrityChecksObject": "s3://example-config/checks.toml",
        "IntegrityObjectArns": "arn:aws:s3:::example-uploads/*",
        "IntegrityObjectBucketArns": "arn:aws:s3:::example-uploads",
        "RotatedParameterArns": "arn:aws:ssm:eu-central-1:111122223333:parameter/example/DATABASE_URL,arn:aws:ssm:eu-central-1:111122223333:parameter/example/keys",
        "RotatedSecretArns": "arn:aws:secretsmanager:eu-central-1:111122223333:secret:example/database-AbCdEf",
        "RotatorDatabaseUserArn": "arn:aws:rds-db:eu-central-1:111122223333:dbuser:db-ABCDEFGHIJKL/rotator",
        "RotationEcsServiceArns": "arn:aws:ecs:eu-central-1:111122223333:service/example/web",
        "RotationBeanstalkEnvironmentArns": "arn:aws:elasticbeanstalk:eu-central-1:111122223333:environment/example/example-prod",
        "RotationLambdaArns": "arn:aws:lambda:eu-central-1:111122223333:function:example",
        "SecretsKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-555555555555",
        "BackupKeyArn": "arn:aws:kms:eu-central-1:111122223333:key/11111111-2222-3333-4444-666666666666",
        "BackupBucketName": "example-backups",
        "DatabaseUrlParameter": "/example/database-url",
        "SlackParameter": "/example/slack",
        "SlackChannel": "#ops",
        "OpsEmail": "ops@example.com",
        "ObjectLockMode": "OFF",
        "ReservedConcurrency": "ON",
        "Tracing": "PassThrough",
        "Architecture": "arm64",
    },
}


def raw():
    """The template as it is written, with short intrinsics in their long form."""
    return yaml_parse((ROOT / "template.yaml").read_text())


def transformed(parameters):
    """The template after SAM's transform. Its conditions are still to be decided (structure.py does)."""
    template = raw()
    for resource in template["Resources"].values():
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://packaged-by-sam/object"
    values = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p} | parameters
    return transform(template, values, SimpleNamespace(load=dict))
