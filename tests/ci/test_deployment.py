"""Chart, container file and unit of the planner: rendered, linted, and held against Kubernetes' own schemas."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from kache.cli.main import find_verb, parser_of
from tests.support.planner import PlannerService
from tests.support.sandbox import KACHE
from tools.servers import ServersError, installed

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "chart"
KUBERNETES = "1.34"
POSTGRES = ("database.existingSecret=planner-database", "replicaCount=3", "envFromSecrets[0]=planner-tokens")
INGRESS = (
    "ingress.enabled=true",
    "ingress.host=planner.example.com",
    "ingress.tlsSecret=planner-tls",
    "ingress.className=nginx",
)
TOKENS = ("envFromSecrets[0]=planner-tokens",)
CASES = {
    "one replica": TOKENS,
    "several replicas with PostgreSQL": POSTGRES,
    "everything": (
        *POSTGRES,
        *INGRESS,
        "env.KACHE_LOG=debug",
        "extraArgs[0]=--help",
        "imagePullSecrets[0].name=registry",
    ),
    "a volume that is there": (*TOKENS, "database.persistence.existingClaim=old", "podAnnotations=null"),
}


def program(name: str) -> Path:
    try:
        return installed(name)
    except ServersError as error:
        if "KACHE_NO_SERVERS" not in os.environ:
            raise
        pytest.skip(str(error))


def helm(verb: str, *words: str, values: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    argv = [str(program("helm")), verb, *words, "--kube-version", f"{KUBERNETES}.0"]
    argv += [word for value in values for word in ("--set", value)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def rendered(*values: str) -> dict[str, Any]:
    """Documents by kind."""
    done = helm("template", "planner", str(CHART), "--namespace", "ci", values=values)
    assert done.returncode == 0, done.stderr
    return {document["kind"]: document for document in YAML(typ="safe").load_all(done.stdout) if document}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_the_chart_is_linted_and_of_kubernetes_schemas(values: tuple[str, ...], tmp_path: Path) -> None:
    linted = helm("lint", "--strict", str(CHART), values=values)
    assert linted.returncode == 0, linted.stdout + linted.stderr
    for kind, document in rendered(*values).items():
        (tmp_path / f"{kind}.json").write_text(json.dumps(document))
    validator = program("kubernetes-validate")
    argv = [
        sys.executable,
        str(validator),
        "--strict",
        "--kubernetes-version",
        KUBERNETES,
        *map(str, tmp_path.iterdir()),
    ]
    env = os.environ | {"PYTHONPATH": str(validator.parent.parent)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def container(documents: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_one_replica_has_sqlite_on_a_volume_that_only_one_process_opens() -> None:
    documents = rendered(*TOKENS)
    spec = documents["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
    assert (
        volumes["data"]["persistentVolumeClaim"]["claimName"] == documents["PersistentVolumeClaim"]["metadata"]["name"]
    )
    assert "Ingress" not in documents and "PodDisruptionBudget" not in documents


def test_several_replicas_have_postgresql_by_a_secret_that_is_there() -> None:
    documents = rendered(*POSTGRES)
    assert documents["Deployment"]["spec"]["replicas"] == 3
    assert "strategy" not in documents["Deployment"]["spec"], "one takes over from the other without a gap"
    assert "PersistentVolumeClaim" not in documents and "Secret" not in documents
    variables = {each["name"]: each for each in container(documents)["env"]}
    reference = variables["KACHE_PLANNER_DATABASE"]["valueFrom"]["secretKeyRef"]
    assert reference == {"name": "planner-database", "key": "url"}
    assert container(documents)["envFrom"] == [{"secretRef": {"name": "planner-tokens"}}]
    assert documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_probes_ask_what_the_service_answers_and_it_may_do_little() -> None:
    found = container(rendered(*TOKENS))
    paths = {probe: found[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/readyz", "liveness": "/healthz", "readiness": "/readyz"}
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    assert found["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_an_ingress_leads_to_the_service() -> None:
    documents = rendered(*TOKENS, *INGRESS)
    spec = documents["Ingress"]["spec"]
    assert spec["tls"] == [{"hosts": ["planner.example.com"], "secretName": "planner-tls"}]
    backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": documents["Service"]["metadata"]["name"], "port": {"name": "http"}}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((), "Fix: name a Secret with KACHE_PLANNER_TOKENS in envFromSecrets"),
        (("replicaCount=2",), "SQLite belongs to one process. Fix: name a Secret with a PostgreSQL URL"),
        (("ingress.enabled=true",), "Fix: set ingress.host"),
        (("replicaCount=0",), "replicaCount"),
        (("replicas=2",), "replicas"),
        (("database.persistence.size=much",), "size"),
    ],
    ids=[
        "nobody may come in",
        "two with SQLite",
        "an ingress without a host",
        "none at all",
        "a value of another name",
        "no size",
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: tuple[str, ...], says: str) -> None:
    done = helm("template", "planner", str(CHART), values=values)
    assert done.returncode != 0 and says in done.stderr


def served() -> dict[str, list[str]]:
    """Words of `kache planner` in each of the three."""
    containerfile = (ROOT / "deploy" / "Containerfile").read_text()
    lists = {
        name: json.loads(words)
        for name, words in re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", containerfile, re.MULTILINE)
    }
    unit = (ROOT / "deploy" / "kache-planner.service").read_text()
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    entry = lists["ENTRYPOINT"][1:]
    return {
        "container": [*entry, *lists["CMD"]],
        "chart": [*entry, *container(rendered(*TOKENS))["args"]],
        "unit": line.split()[1:],
    }


@pytest.mark.parametrize("which", ["container", "chart", "unit"])
def test_the_parser_takes_the_words_they_start_it_with(which: str) -> None:
    words = served()[which]
    assert words[:2] == ["planner", "serve"]
    parser_of(find_verb("planner"))[0].parse_args(words[1:])


def test_the_service_answers_what_probes_and_prometheus_ask_of_it(tmp_path: Path) -> None:
    """With the words, the variables and the tokens that the chart gives it; it writes nowhere but its database."""
    found = container(rendered(*TOKENS))
    words = [word for word in found["args"] if word not in ("--bind", "0.0.0.0:8080")]
    names = [variable["name"] for variable in found["env"]]
    assert names == ["KACHE_PLANNER_DATABASE"]
    tokens = "\n".join(f"{name}:{scopes}:{name * 16}" for name, scopes in (("ci", "read+write"), ("dev", "read")))
    (tmp_path / "data").mkdir()
    env = {
        names[0]: f"sqlite:///{tmp_path}/data/planner.db",
        "KACHE_PLANNER_TOKENS": tokens,
        "HOME": str(tmp_path / "home"),
    }
    with PlannerService(*words, cwd=tmp_path, env=env) as service:
        for path in ("/readyz", "/healthz"):
            assert service.ask("GET", path).status == 200, "without a token: a probe has none"
        assert service.ask("GET", found_path(rendered(*TOKENS))).status == 200
        assert service.ask("GET", "/v1/workspaces").status == 401
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def found_path(documents: dict[str, Any]) -> str:
    """Where Prometheus is told to look."""
    path: str = documents["Deployment"]["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"]
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "kache-planner.service"
    text = (ROOT / "deploy" / "kache-planner.service").read_text()
    assert "/opt/kache/bin/kache" in text
    # It looks whether the program is there.
    unit.write_text(text.replace("/opt/kache/bin/kache", str(KACHE)))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if "kache-planner" in line]
    assert done.returncode == 0 and not about_it, done.stdout + done.stderr


def test_the_container_file_copies_what_is_there_and_what_is_not_ignored() -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
    sources = [word for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert {"pyproject.toml", "native", "src"} <= set(sources)
    kept = re.findall(r"^!(\S+)$", (ROOT / "deploy" / "Containerfile.dockerignore").read_text(), re.MULTILINE)
    for source in sources:
        assert (ROOT / source).exists()
        assert any(Path(source).match(pattern) for pattern in kept), f"{source} is ignored"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_the_container_files_commands_pass_shellcheck() -> None:
    text = (ROOT / "deploy" / "Containerfile").read_text().replace("\\\n", " ")
    commands = re.findall(r"^RUN (.+)$", text, re.MULTILINE)
    assert len(commands) == 3
    script = "#!/bin/sh\n" + "\n".join(commands) + "\n"
    done = subprocess.run(["shellcheck", "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
