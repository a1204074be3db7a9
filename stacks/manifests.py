"""The bucket of manifests."""

from aws_cdk import Duration, Stack
from aws_cdk import aws_s3 as s3
from constructs import Construct

from rollcall.core import names
from stacks.environment import Environment
from stacks.exceptions import accept


class Manifests(Construct):
    """The sealed lists of what runs have to do, and dead letters that belong to no entry.

    Private, encrypted by S3, TLS only. Objects go after the environment's manifest retention.
    """

    def __init__(self, scope: Construct, id_: str, *, environment: Environment) -> None:
        super().__init__(scope, id_)
        stack = Stack.of(self)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            bucket_name=names.manifests_name(environment.name, stack.account, stack.region),
            encryption=s3.BucketEncryption.S3_MANAGED,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            enforce_ssl=True,
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire",
                    expiration=Duration.days(environment.manifest_retention_days),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
            ],
            removal_policy=environment.removal_policy,
        )
        accept(
            self.bucket,
            "S1",
            "two roles of each job can read or write it, and nobody from outside; a bucket of logs would hold more "
            "objects than this one. CloudTrail's data events tell who did what, where an account wants that",
        )
