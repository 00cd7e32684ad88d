"""An S3 server on a real socket for tests: moto's, with one bucket."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

BUCKET = "made-bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "made", "AWS_SECRET_ACCESS_KEY": "made", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def served() -> Iterator[str]:
    """A running server; gives the options of a URI that reach it. The keys are in the environment meanwhile."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    before = dict(os.environ)
    os.environ.update(KEYS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    finally:
        server.stop()
        for name in KEYS:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
