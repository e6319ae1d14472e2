"""`python -m kache.remote.aws_profile PROFILE`: credentials of a profile that signs in or takes on a role, by boto3.

Prints what a `credential_process` prints, or one line on stderr and 1.
"""

from __future__ import annotations

import json
import sys


def main(profile: str) -> int:
    """Ask boto3."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        credentials = boto3.session.Session(profile_name=profile).get_credentials()
        if credentials is None:
            print("it gives no credentials", file=sys.stderr)  # noqa: T201 - a program of its own
            return 1
        frozen = credentials.get_frozen_credentials()
        # What a role or a sign-in gave knows when it ends; boto3 has no public name for that.
        ends = getattr(credentials, "_expiry_time", None)
    except (BotoCoreError, ClientError) as error:
        hint = f"; aws sso login --profile {profile}" if "SSO" in str(error) or "Token" in type(error).__name__ else ""
        print(f"{' '.join(str(error).split())}{hint}", file=sys.stderr)  # noqa: T201
        return 1
    answer = {
        "Version": 1,
        "AccessKeyId": frozen.access_key,
        "SecretAccessKey": frozen.secret_key,
        "SessionToken": frozen.token,
        "Expiration": ends.isoformat() if ends else None,
    }
    print(json.dumps(answer))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
