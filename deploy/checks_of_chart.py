#!/usr/bin/env python3
"""Checks the Helm chart: `make deploy-check` runs it with Helm's engine and Kubernetes' schemas.

With the chart's own values and with each file of its folder `ci`: Helm lints and renders it, every object fits the
schemas of several versions of Kubernetes, and what objects say of each other is true: selectors select, ports have
names, references lead somewhere, variables are settings, and the programs take them where they are built.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm/holdfast"
VERSIONS = ("1.29", "1.32", "1.35")
OPERATORS_OWN = "monitoring.coreos.com/"
WARNING = 2
SECRET_VALUES = {
    "HOLDFAST_ADMIN_KEYS_SHA256": "ops:" + "ab" * 32,
    "HOLDFAST_TOKEN_SECRETS": "k1:" + "cd" * 32,
    "HOLDFAST_STRIPE_SECRET_KEY": "sk_test_1",
    "HOLDFAST_PAYMENT_WEBHOOK_SECRET": "whsec_" + "0" * 32,
    "redis-url-api": "rediss://holdfast-api:p@redis.example:6379",
    "redis-url-worker": "rediss://holdfast-worker:p@redis.example:6379",
    "mongodb-url": "mongodb://holdfast:p@mongodb.example:27017/?replicaSet=rs0",
}

Object = Dict[str, Any]


class Wrong(Exception):
    """What a check has found."""


def require(condition: bool, text: str) -> None:
    """Raises if a condition does not hold."""
    if not condition:
        raise Wrong(text)


def settings() -> List[str]:
    """The names of all settings, from their table."""
    table = (ROOT / "src/config/fields.rs").read_text().split("settings! {", 1)[1]
    return re.findall(r"^    (\w+): .* =", table, re.M)


class Rendered:
    """What the chart makes of some values."""

    def __init__(self, objects: List[Object]) -> None:
        self.objects = objects

    def of(self, *kinds: str) -> List[Object]:
        """Objects of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def workloads(self) -> List[Object]:
        """What makes pods."""
        return self.of("Deployment", "StatefulSet")

    def selected(self, selector: Object) -> List[Object]:
        """The workloads whose pods a selector selects."""

        def fits(one: Object) -> bool:
            labels = one["spec"]["template"]["metadata"]["labels"]
            return all(labels.get(name) == value for name, value in selector.items())

        return [one for one in self.workloads() if fits(one)]

    def has(self, kind: str, name: str) -> bool:
        """Whether there is such an object."""
        return any(one["metadata"]["name"] == name for one in self.of(kind))


def containers(workload: Object) -> List[Object]:
    """The containers of a workload's pods."""
    found: List[Object] = workload["spec"]["template"]["spec"]["containers"]
    return found


def port_names(workload: Object) -> List[str]:
    """The names of a workload's ports."""
    return [port["name"] for container in containers(workload) for port in container["ports"]]


def check_selectors(rendered: Rendered) -> None:
    """Each selector selects the pods of one workload, whose ports it names."""
    for one in rendered.of("Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        spec, name = one["spec"], f"{one['kind']} {one['metadata']['name']}"
        selector = spec.get("podSelector") or spec["selector"]
        selected = rendered.selected(selector.get("matchLabels", selector))
        require(len(selected) == 1, f"{name} selects {len(selected)} workloads")
        names = [port["targetPort"] for port in spec.get("ports", [])]
        names += [endpoint["port"] for endpoint in spec.get("podMetricsEndpoints", [])]
        names += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        missing = [port for port in names if port not in port_names(selected[0])]
        require(not missing, f"{name}: no port is called {missing}")
    for one in rendered.workloads():
        selector = one["spec"]["selector"]["matchLabels"]
        require(rendered.selected(selector) == [one], f"{one['metadata']['name']} selects others")
        component = one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            labels = spread["labelSelector"]["matchLabels"]
            require(labels["app.kubernetes.io/component"] == component, f"{component}: spread")


def check_targets(rendered: Rendered) -> None:
    """Autoscalers scale a workload that has no number of its own; the ingress leads to a service."""
    for one in rendered.of("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        require(rendered.has(target["kind"], target["name"]), f"no {target} to scale")
        scaled = [w for w in rendered.workloads() if w["metadata"]["name"] == target["name"]]
        require("replicas" not in scaled[0]["spec"], "the autoscaler and `replicas` contradict")
    for one in rendered.of("Ingress"):
        for rule in one["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                found = [
                    s for s in rendered.of("Service") if s["metadata"]["name"] == service["name"]
                ]
                ports = [port["name"] for s in found for port in s["spec"]["ports"]]
                require(
                    service["port"]["name"] in ports, f"the ingress leads to no port: {service}"
                )
    for one in rendered.of("StatefulSet"):
        require(
            rendered.has("Service", one["spec"]["serviceName"]), "the StatefulSet has no service"
        )


def environment(rendered: Rendered, container: Object) -> Iterator[Tuple[str, Any]]:
    """A container's variables with their values, secrets as `SECRET_VALUES` has them."""
    for source in container.get("envFrom", []):
        name = source["configMapRef"]["name"]
        maps = [one for one in rendered.of("ConfigMap") if one["metadata"]["name"] == name]
        require(len(maps) == 1, f"there is no ConfigMap {name}")
        yield from maps[0]["data"].items()
    for variable in container["env"]:
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        if secret:
            require(secret["key"] in SECRET_VALUES, f"the Secret has no key {secret['key']}")
            yield variable["name"], SECRET_VALUES[secret["key"]]
        else:
            yield variable["name"], variable.get("value", "name-of-the-pod-0")


def check_variables(rendered: Rendered) -> None:
    """Each variable is a setting, once; numbers are written as the programs read them."""
    known = {"HOLDFAST_" + name.upper() for name in settings()}
    require(len(known) > 100, "the table of settings was not understood")
    for workload in rendered.workloads():
        for container in containers(workload):
            pairs = list(environment(rendered, container))
            names = [name for name, _ in pairs]
            unknown = [name for name in names if name not in known]
            require(not unknown, f"these are no settings: {unknown}")
            require(len(names) == len(set(names)), f"a variable is there twice: {sorted(names)}")
            floats = [pair for pair in pairs if re.fullmatch(r"[\d.]+e[+-]?\d+", str(pair[1]))]
            require(not floats, f"numbers as Go prints floats: {floats}")
            check_program(container["command"][0], dict(pairs))


def check_program(name: str, variables: Dict[str, str]) -> None:
    """The program takes its variables, where it is built."""
    program = ROOT / "target/debug" / name
    if not program.exists():
        return
    command = [str(program), "--print-config"]
    env = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(command, env=env, capture_output=True, timeout=30)
    require(done.returncode == 0, f"{name} refuses its settings: {done.stderr.decode()}")


def check_pods(rendered: Rendered) -> None:
    """Pods have few rights, bounds, probes that lead somewhere, mounts of what they name, and time to end."""
    for workload in rendered.workloads():
        pod = workload["spec"]["template"]["spec"]
        name = workload["metadata"]["name"]
        require(pod["securityContext"]["runAsNonRoot"] is True, f"{name} may run as root")
        require(pod["automountServiceAccountToken"] is False, f"{name} has a token of the cluster")
        require(rendered.has("ServiceAccount", pod["serviceAccountName"]), f"{name}: no account")
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            context = container["securityContext"]
            require(context["readOnlyRootFilesystem"] is True, f"{name} may write")
            require(context["capabilities"]["drop"] == ["ALL"], f"{name} has capabilities")
            require("memory" in container["resources"]["limits"], f"{name} has no bound of memory")
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            require(mounted == volumes, f"{name}: volumes {volumes}, mounted {mounted}")
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                get = container[probe]["httpGet"]
                expected = "/health/ready" if probe == "readinessProbe" else "/health/live"
                require(get["path"] == expected, f"{name}: {probe} asks {get['path']}")
                require(get["port"] in port_names(workload), f"{name}: {probe} asks {get['port']}")
            variables = dict(environment(rendered, container))
            # The tasks of the API end after its requests (src/bin/holdfast-api.rs).
            needed = int(variables["HOLDFAST_SHUTDOWN_NOTICE_MS"]) / 1000 + 5
            needed += int(variables["HOLDFAST_SHUTDOWN_SECONDS"])
            require(
                pod["terminationGracePeriodSeconds"] > needed, f"{name} needs {needed} s to end"
            )
            check_key_files(pod, variables)


def check_key_files(pod: Object, variables: Dict[str, str]) -> None:
    """Key files are in the mounted volume."""
    paths = [path for path in variables.get("HOLDFAST_JWT_KEY_FILES", "").split(",") if path]
    items = [v["secret"]["items"] for v in pod.get("volumes", []) if v["name"] == "keys"]
    mounted = ["/etc/holdfast/keys/" + item["path"] for item in (items[0] if items else [])]
    require(paths == mounted, f"key files {paths}, mounted {mounted}")


def check_alerts(rendered: Rendered, yaml: Any) -> None:
    """The rules are those of deploy/prometheus, all of them."""
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    for one in rendered.of("PrometheusRule"):
        require(one["spec"] == shipped, "the PrometheusRule is not deploy/prometheus/alerts.yml")


def check_schemas(rendered: Rendered, validator: Any) -> None:
    """Kubernetes takes each object."""
    for one in rendered.objects:
        if one["apiVersion"].startswith(OPERATORS_OWN):
            continue
        for version in VERSIONS:
            try:
                validator.validate(one, version, strict=True)
            except Exception as error:
                raise Wrong(
                    f"{one['kind']} {one['metadata']['name']}, {version}: {error}"
                ) from None


def check_refusals(helm: Any) -> None:
    """Values that cannot work are refused, with what is wrong."""
    cases: Tuple[Tuple[Object, str], ...] = (
        ({"ingress": {"enabled": True, "host": "h.example"}}, "trustedProxies"),
        ({"ingress": {"enabled": True}, "trustedProxies": ["10.0.0.0/8"]}, "ingress.host"),
        ({"apii": {}}, "apii"),
        ({"auth": {"mode": "none"}}, "mode"),
        ({"image": {"digest": "latest"}}, "digest"),
    )
    for values, word in cases:
        with helm.Chart.load(CHART) as chart:
            try:
                chart.validate_schema(values)
                chart.render(values, name="holdfast", namespace="prod")
            except helm.HelmError as error:
                require(word in str(error), f"{values}: {error} does not name {word}")
                continue
        raise Wrong(f"the chart takes {values}")


def render(helm: Any, yaml: Any, values: Object, release: str) -> Rendered:
    """Lints and renders the chart."""
    linted = helm.lint(CHART, values)
    faults = [one for one in linted["messages"] if one["severity"] >= WARNING] + linted["errors"]
    require(not faults, f"helm lint: {faults}")
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=release, namespace="prod")
    objects: List[Object] = []
    for name, text in files.items():
        if name.endswith(".yaml"):
            objects += [one for one in yaml.safe_load_all(text) if one]
    return Rendered(objects)


def main(folder: str) -> int:
    """Checks with every file of values; `folder` has the packages."""
    sys.path.insert(0, folder)
    import helm_python as helm  # type: ignore[import-not-found]
    import kubernetes_validate as validator  # type: ignore[import-not-found]
    import yaml  # type: ignore[import-untyped]

    cases = [("values.yaml", {}, "holdfast")]
    for path in sorted((CHART / "ci").glob("*.yaml")):
        cases.append((path.name, yaml.safe_load(path.read_text()), "shop"))
    try:
        for name, values, release in cases:
            rendered = render(helm, yaml, values, release)
            check_selectors(rendered)
            check_targets(rendered)
            check_variables(rendered)
            check_pods(rendered)
            check_alerts(rendered, yaml)
            check_schemas(rendered, validator)
            print(f"{name}: {len(rendered.objects)} objects, Kubernetes {', '.join(VERSIONS)}")
        check_refusals(helm)
    except Wrong as wrong:
        print(f"{name}: {wrong}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
