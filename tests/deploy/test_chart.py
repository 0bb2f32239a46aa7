"""The Helm chart: linted and rendered by Helm, each object held to Kubernetes' own schemas, and what it promises."""

import re

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import CHART, objects, run
from understudy import __version__
from understudy.gateway.config import parse

ROOT = CHART.parents[2]
ENVIRON = {
    "UNDERSTUDY_KEY": "k", "UNDERSTUDY_ADMIN_KEY": "a", "OPENAI_API_KEY": "o", "REDIS_URL": "redis://r:6379/0",
    "LEDGER_URL": "postgresql://u@h/n",
}  # fmt: skip
FULL = {
    "secret": "keys",
    "image": {"repository": "registry.example/understudy", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "pull"}],
    "env": [{"name": "GROQ_API_KEY", "valueFrom": {"secretKeyRef": {"name": "groq", "key": "key"}}}],
    "server": {"linger": 2.5, "drain": 600, "log_exchanges": True, "cors_origins": ['https://a.example/?<&>"\\']},
    "ledger": {"bodies_days": 7},
    "config": '[routes."gpt-5"]\ntargets = ["openai/gpt-5", "local/smollm2-135m"]\n',
    "service": {"annotations": {"a": "b"}},
    "ingress": {
        "enabled": True, "className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/proxy-buffering": "off"},
        "hosts": ["llm.example.com"], "tls": [{"secretName": "tls", "hosts": ["llm.example.com"]}],
    },
    "autoscaling": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True, "from": [{"namespaceSelector": {"matchLabels": {"team": "apps"}}}],
        "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::0:role/understudy"}},
    "podAnnotations": {"note": "yes"}, "podLabels": {"team": "ai"}, "priorityClassName": "high",
    "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    ],
    "preStop": 3,
}  # fmt: skip
LEAN = {
    "secret": "keys", "replicas": 1, "disruptionBudget": {"enabled": False}, "serviceAccount": {"create": False},
    "server": {"redis": None}, "ledger": {"url": None}, "networkPolicy": {"enabled": True},
}  # fmt: skip
SETS = {"as it comes": {"secret": "keys"}, "with everything": FULL, "with little": LEAN}


@pytest.fixture(scope="module", params=SETS)
def values(request):
    return SETS[request.param]


@pytest.fixture(scope="module")
def rendered(values):
    return objects(values)


@pytest.fixture(scope="module")
def full():
    return objects(FULL)


def pods(rendered):
    return [rendered["Deployment"]["spec"]["template"]["spec"], rendered["Pod"]["spec"]]


def settings(rendered):
    text = rendered["ConfigMap"]["data"]["understudy.toml"]
    return parse(text, "understudy.toml", ENVIRON).config


def test_helm_finds_nothing_to_complain_of(values):
    assert [one for one in run(values)["lint"] if one[0] > 1] == []


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
def test_every_object_is_one_that_kubernetes_knows(rendered, version):
    for kind, one in rendered.items():
        if kind != "ServiceMonitor":  # a resource of the Prometheus operator
            kubernetes_validate.validate(one, version, strict=True)


def test_kubernetes_schemas_refuse_a_misspelt_field(full):
    broken = {**full["Deployment"], "spec": {**full["Deployment"]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_the_gateway_takes_the_configuration_as_it_is_rendered(rendered):
    config = settings(rendered)
    assert (config.server.host, config.server.port) == ("0.0.0.0", 4000)
    assert config.server.keys == ["env:UNDERSTUDY_KEY"]


def test_what_values_say_of_the_configuration_arrives_to_the_letter(full):
    config = settings(full)
    assert config.server.cors_origins == FULL["server"]["cors_origins"]
    assert (config.server.linger, config.server.drain, config.server.log_exchanges) == (2.5, 600, True)
    assert config.ledger.bodies_days == 7
    assert config.routes["gpt-5"].targets == ["openai/gpt-5", "local/smollm2-135m"]


def test_settings_can_be_taken_out():
    config = settings(objects(LEAN))
    assert config.server.redis is None
    assert config.ledger.url == ""


def test_an_update_takes_no_replica_away_before_another_is_ready(rendered):
    spec = rendered["Deployment"]["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    container = spec["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}


def test_a_pod_is_not_killed_before_it_has_lingered_drained_and_written_its_ledger(rendered, values):
    pod, server = pods(rendered)[0], settings(rendered).server
    rest = pod["terminationGracePeriodSeconds"] - server.linger - server.drain - values.get("preStop", 0)
    assert rest >= 15


def test_the_configured_sleep_before_a_stop_needs_no_shell(full):
    assert full["Deployment"]["spec"]["template"]["spec"]["containers"][0]["lifecycle"] == {
        "preStop": {"sleep": {"seconds": 3}}
    }


def test_readiness_is_lost_before_calls_are_refused():
    found = objects({"secret": "keys"})
    probe = pods(found)[0]["containers"][0]["readinessProbe"]
    noticed = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed < settings(found).server.linger


def test_pods_keep_to_the_restricted_security_standard(rendered):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, and a read-only root."""
    for pod in pods(rendered):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert pod["automountServiceAccountToken"] is False
        assert {next(iter(volume.keys() - {"name"})) for volume in pod.get("volumes", [])} <= {"configMap", "emptyDir"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def test_the_service_finds_the_replicas_and_not_the_pod_of_the_test(rendered):
    selector = rendered["Service"]["spec"]["selector"].items()
    assert selector <= rendered["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert rendered["Deployment"]["spec"]["selector"]["matchLabels"].items() == selector
    assert not selector <= rendered["Pod"]["metadata"]["labels"].items()
    for kind in {"NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor"} & rendered.keys():
        spec = rendered[kind]["spec"]
        assert spec.get("selector", spec.get("podSelector"))["matchLabels"].items() == selector


def test_a_changed_configuration_restarts_the_replicas(rendered):
    def checksum(found):
        return found["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    assert checksum(rendered) != checksum(objects({"secret": "keys", "config": "[defaults]\nretries = 2\n"}))


def test_secrets_are_named_and_never_made(rendered):
    assert "Secret" not in rendered
    container = rendered["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]


def test_without_a_secret_it_says_what_is_missing():
    assert "secret: the name of the Secret" in run({})["error"]


def test_what_is_off_is_not_there_and_what_is_on_is():
    off = {"Ingress", "HorizontalPodAutoscaler", "ServiceMonitor", "NetworkPolicy"}
    assert not off & objects({"secret": "keys"}).keys()
    found = objects(FULL)
    assert off <= found.keys()
    assert "replicas" not in found["Deployment"]["spec"], "the autoscaler's business"
    assert found["ServiceMonitor"]["spec"]["endpoints"][0]["authorization"] == {
        "credentials": {"name": "keys", "key": "UNDERSTUDY_ADMIN_KEY"}
    }
    assert {"PodDisruptionBudget", "ServiceAccount"}.isdisjoint(objects(LEAN))


WRONG = {
    "a value nobody knows": ({"replica": 3}, "replica"),
    "no replica": ({"replicas": 0}, "/replicas"),
    "another port": ({"server": {"port": 1}}, "/server/port"),
    "a table as a setting": ({"server": {"keys": {}}}, "/server/keys"),
    "no time to drain": ({"server": {"drain": 0}}, "/server/drain"),
    "drain taken out": ({"server": {"drain": None}}, "drain"),
    "not a digest": ({"image": {"digest": "latest"}}, "/image/digest"),
    "a setting with a line break in its name": ({"server": {"a = 1\nb": 1}}, "does not match"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_by_the_schema(name):
    wrong, where = WRONG[name]
    assert where in run({"secret": "keys", **wrong})["error"]


def test_every_value_is_used_and_every_value_that_is_used_is_there():
    templates = "".join(path.read_text() for path in sorted((CHART / "templates").rglob("*.*")))
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    used = set(re.findall(r"\.Values\.([A-Za-z]+)(?:\.([A-Za-z]+))?", templates))
    whole = {"server", "ledger", "resources"}
    there = set()
    for name, value in defaults.items():
        nested = isinstance(value, dict) and value and name not in whole
        there |= {(name, inner) for inner in value} if nested else {(name, "")}
    assert {(name, "" if name in whole else inner) for name, inner in used} == there


def test_chart_and_image_agree():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    text = (ROOT / "deploy/container/Containerfile").read_text()
    pod = pods(objects({"secret": "keys"}))[0]
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in text
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert re.search(r"XDG_DATA_HOME=(\S+)", text)[1] in mounts
    assert re.search(r"UNDERSTUDY_CONFIG=(\S+)/understudy.toml", text)[1] in mounts


def test_the_notes_say_where_it_answers_and_what_is_not_shared():
    notes = {name: next(text for path, text in run(values)["files"].items() if path.endswith("NOTES.txt"))
             for name, values in SETS.items()}  # fmt: skip
    assert "http://prod-understudy.ai:80/v1" in notes["as it comes"]
    assert "https://llm.example.com/v1" in notes["with everything"]
    assert "WITHOUT server.redis" in notes["with little"]
    assert "WITHOUT server.redis" not in notes["as it comes"]
