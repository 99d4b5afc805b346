"""What is in deploy/ fits the programs: settings are read, options and endpoints exist, ports and labels agree."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from man_pages import pages

from carbonquota.cli import command_line
from carbonquota.cli.run import command as run
from carbonquota.cli.serve import command as serve
from carbonquota.daemon.configuration import load_settings
from carbonquota.daemon.http import make_app as make_daemon_app
from carbonquota.hub.http.app import make_app as make_hub_app
from carbonquota.hub.service.hub import Hub
from carbonquota.hub.storage.database import Database
from carbonquota.rules import RuleSet
from tests.support.http import engine_with_names, source_of

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
CONFIG = KUBERNETES / "config"
KUBECTL = shutil.which("kubectl")
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
DOCUMENTS = [
    document for path in sorted(KUBERNETES.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())
]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in DOCUMENTS if document["kind"] == kind]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (document for document in of_kind(kind) if document["metadata"]["name"] == name)
    return found


WORKLOADS = [named("StatefulSet", "carbonquota"), named("Deployment", "carbonquota-hub")]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_kustomize_names_files_that_there_are_and_all_of_them() -> None:
    (kustomization,) = of_kind("Kustomization")
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in KUBERNETES.glob("*.yaml")}
    (generator,) = kustomization["configMapGenerator"]
    assert {KUBERNETES / name for name in generator["files"]} == set(CONFIG.iterdir())


def test_the_configuration_is_read_without_errors_and_its_rules_too() -> None:
    settings, notes = load_settings(CONFIG / "carbonquota.conf", hostname="carbonquota-0")
    assert notes.warnings == ()
    assert RuleSet.from_file(CONFIG / "storage-quotas.conf").rules
    claims = {mount["mountPath"] for mount in container(WORKLOADS[0])["volumeMounts"]}
    for path in (settings.relay.spool_dir, settings.state.directory):
        assert any(path.startswith(f"{claim}/") for claim in claims), path
    assert settings.hub.url == "http://carbonquota-hub.carbonquota.svc:8090"


def test_ports_of_the_configuration_of_containers_and_of_services_are_the_same() -> None:
    settings, _ = load_settings(CONFIG / "carbonquota.conf", hostname="carbonquota-0")
    listens = {
        "plaintext": settings.inputs["tcp"].listen.port,
        "plaintext-udp": settings.inputs["udp"].listen.port,
        "pickle": settings.inputs["pickle"].listen.port,
        "http": settings.carbonserver.listen.port,
    }
    assert {port["name"]: port["containerPort"] for port in container(WORKLOADS[0])["ports"]} == listens
    assert all(one.listen.host == "" for one in settings.inputs.values())
    (listen,) = (one for one in container(WORKLOADS[1])["args"] if one.startswith("--listen="))
    hub = {port["name"]: port["containerPort"] for port in container(WORKLOADS[1])["ports"]}
    assert listen == f"--listen=:{hub['http']}"
    assert f"--grpc-listen=:{hub['grpc']}" in container(WORKLOADS[1])["args"]
    for workload in WORKLOADS:
        ports = {port["name"]: port["containerPort"] for port in container(workload)["ports"]}
        service = named("Service", workload["metadata"]["name"])
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
        assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)


def test_commands_and_options_are_those_of_the_program() -> None:
    for workload, name, command in zip(WORKLOADS, ("run", "serve"), (run, serve), strict=True):
        given, *options = container(workload)["args"]
        assert given == name
        with command.make_context(name, list(options)) as context:
            assert context.params


def test_probes_ask_what_everybody_may(tmp_path: Path) -> None:
    hub = Hub(Database(f"sqlite:///{tmp_path}/hub.sqlite"))
    hub.open()
    described = [make_daemon_app(source_of(engine_with_names())).openapi(), make_hub_app(hub).openapi()]
    hub.close()
    for workload, openapi in zip(WORKLOADS, described, strict=True):
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container(workload)[probe]["httpGet"]
            assert openapi["paths"][asked["path"]]["get"]["security"] == []
            assert asked["port"] == "http"


def test_labels_lead_from_services_and_policies_to_pods() -> None:
    pods = [workload["spec"]["template"]["metadata"]["labels"] for workload in WORKLOADS]
    assert [workload["spec"]["selector"]["matchLabels"] for workload in WORKLOADS] == pods
    assert [one["spec"]["selector"] for one in of_kind("Service")] == pods
    assert [one["spec"]["podSelector"]["matchLabels"] for one in of_kind("NetworkPolicy")] == pods
    (stateful,) = of_kind("StatefulSet")
    service = named("Service", stateful["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None", "it is headless"
    for policy, workload in zip(of_kind("NetworkPolicy"), WORKLOADS, strict=True):
        names = {port["name"] for port in container(workload)["ports"]}
        asked = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        assert asked <= names


def test_nothing_runs_as_root_and_every_volume_is_there() -> None:
    for workload in WORKLOADS:
        spec = workload["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert container(workload)["securityContext"]["readOnlyRootFilesystem"]
        volumes = {one["name"] for one in spec["volumes"]}
        volumes |= {one["metadata"]["name"] for one in workload["spec"].get("volumeClaimTemplates", ())}
        assert {one["name"] for one in container(workload)["volumeMounts"]} == volumes


def test_the_containerfile_runs_a_command_that_there_is_and_copies_what_there_is() -> None:
    text = (ROOT / "Containerfile").read_text()
    assert re.search(r'^ENTRYPOINT \["carbonquota"\]$', text, re.MULTILINE)
    assert re.search(r'^CMD \["run", "--config", "/etc/carbonquota/carbonquota.conf"\]$', text, re.MULTILINE)
    extras = re.search(r'"\.\[(.*)\]"', text)
    assert extras
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras[1].split(","))
    assert "USER 65532" in text


def test_the_units_command_of_the_hub_is_one_that_there_is() -> None:
    parser = ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.read(ROOT / "etc" / "carbonquota-hub.service")
    program, name, *options = parser["Service"]["execstart"].split()
    assert (program, name) == ("/usr/bin/carbonquota", "serve")
    with serve.make_context(name, options) as context:
        assert context.params
    assert parser["Service"]["workingdirectory"] == f"/var/lib/{parser['Service']['statedirectory']}"


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="there is no systemd here")
def test_systemd_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
    units = []
    for name in ("carbonquota.service", "carbonquota-hub.service"):
        units.append(tmp_path / name)
        # Whether the program is there is for the machine to tell that has it.
        units[-1].write_text((ROOT / "etc" / name).read_text().replace("/usr/bin/carbonquota", "/bin/true"))
    said = subprocess.run(
        [str(SYSTEMD_ANALYZE), "verify", "--man=no", *map(str, units)], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here, which has kustomize in it")
def test_kustomize_makes_manifests_that_refer_to_what_there_is() -> None:
    made = subprocess.run(
        [str(KUBECTL), "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=True
    ).stdout
    documents = list(yaml.safe_load_all(made))
    kinds = [document["kind"] for document in documents]
    assert sorted(kinds) == sorted(["Namespace", "ConfigMap", *(one["kind"] for one in WORKLOADS), *["Service"] * 2,
                                    *["NetworkPolicy"] * 2])  # fmt: skip
    assert {one["metadata"].get("namespace", "carbonquota") for one in documents} == {"carbonquota"}
    (config,) = (one for one in documents if one["kind"] == "ConfigMap")
    (daemon,) = (one for one in documents if one["kind"] == "StatefulSet")
    volumes = {one["name"]: one for one in daemon["spec"]["template"]["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"], "a change of it restarts the daemons"


@pytest.mark.parametrize("version", ["1.28", "1.37"])
def test_each_manifest_keeps_to_the_schema_of_kubernetes(version: str) -> None:
    # It has a hundred megabytes of schemas, and so is no part of the extra dev: pip install kubernetes-validate
    schemas = pytest.importorskip("kubernetes_validate")
    for document in DOCUMENTS:
        if document["kind"] != "Kustomization":
            schemas.validate(document, version, strict=True)
    broken = named("Service", "carbonquota-hub")
    with pytest.raises(schemas.ValidationError):
        schemas.validate(broken | {"specs": {}}, version, strict=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_what_completes(shell: str) -> None:
    result = CliRunner().invoke(command_line, ["completion", shell], prog_name="carbonquota")
    assert result.exit_code == 0, result.output
    assert "_CARBONQUOTA_COMPLETE" in result.output
    if shell == "bash":
        assert subprocess.run(["/bin/bash", "-n"], input=result.output, text=True, check=False).returncode == 0


def test_commands_and_options_complete() -> None:
    environment = {"_CARBONQUOTA_COMPLETE": "bash_complete", "COMP_WORDS": "carbonquota rul", "COMP_CWORD": "1"}
    result = CliRunner().invoke(command_line, [], prog_name="carbonquota", env=environment)
    assert "plain,rules" in result.output
    environment |= {"COMP_WORDS": "carbonquota token new --ro", "COMP_CWORD": "3"}
    result = CliRunner().invoke(command_line, [], prog_name="carbonquota", env=environment)
    assert "plain,--role" in result.output


def macros(text: str) -> Iterator[str]:
    return (line.split()[0] for line in text.splitlines() if line.startswith((".", "'")))


def test_every_command_has_a_man_page_that_roff_reads() -> None:
    made = dict(pages())
    assert {"carbonquota", "carbonquota-check", "carbonquota-token-new", "carbonquota-rules-release"} <= made.keys()
    for name, text in made.items():
        assert text.startswith(f'.TH "{name.upper()}" "1"')
        assert set(macros(text)) <= {".TH", ".SH", ".PP", ".TP"}, name
        assert "\\fB" in text
    assert r"\fB\-\-role" in made["carbonquota-token-new"]
