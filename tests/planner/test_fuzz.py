"""The API is attacked with requests made from its own OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.planner.test_service import named
from tests.support.planner import PlannerService

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def test_no_request_made_from_the_document_breaks_the_service(tmp_path: Path) -> None:
    with PlannerService("--rate", "100000", cwd=tmp_path) as service:
        service.tell(named("fuzz").record())
        argv = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json"]
        options = ["--checks", CHECKS, "--max-examples", "30", "--mode", "all", "--phases", "examples,coverage,fuzzing"]
        more = ["--seed", "7", "--no-color", "--generation-database", "none", "--suppress-health-check", "all"]
        done = subprocess.run(
            [*argv, *options, *more], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert "4 selected / 4 total" in done.stdout, done.stdout[-3000:] + done.stderr[-2000:]
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert service.process.poll() is None and service.ask("GET", "/readyz").status == 200
        measures = service.ask("GET", "/metrics").body
        for route in ("/v1/builds", "/v1/prefetch-plan"):  # what is good is taken, what is not is refused
            for status in (b"200", b"400"):
                assert b'{route="%b",status="%b"}' % (route.encode(), status) in measures
        assert not [line for line in service.lines if "Traceback" in line]
