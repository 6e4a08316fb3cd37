"""docker-compose.yml keeps the rules of docs/operating/containers.md, and takes from .env what .env.example offers."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from tests.unit.test_documents import page, variables_of_example, variables_of_settings

COMPOSE: dict[str, Any] = yaml.safe_load(page("docker-compose.yml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "inventory-service"}
SECRETS = {
    *("SECRET_KEY", "METRICS_TOKEN", "POSTGRES_PASSWORD", "DATABASE_PASSWORD", "REDIS_PASSWORD"),
    *("RABBITMQ_PASSWORD", "RABBITMQ_SHOP_PASSWORD", "RABBITMQ_PAYMENTS_PASSWORD"),
}
# Those that the service's containers must not have, although .env has them.
OTHERS = ("POSTGRES_PASSWORD", "RABBITMQ_SHOP_PASSWORD", "RABBITMQ_PAYMENTS_PASSWORD")
# What a container must have its own way, whatever .env says.
FIXED = {
    *("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL", "INVENTORY_DATA_DIR", "INVENTORY_HOST", "INVENTORY_API_AUTH"),
    *("WORKER_METRICS_PORT", "RELAY_METRICS_PORT", "CONSUMER_METRICS_PORT", "EXPIRY_METRICS_PORT"),
}
every_service = pytest.mark.parametrize("name", SERVICES)


def interpolated(text: str) -> dict[str, str]:
    """Each variable that a text takes from .env, with `-DEFAULT` or `?MESSAGE`."""
    return dict(re.findall(r"(?<!\$)\$\{([A-Z_]+):([-?][^}]*)\}", text))


def environment_of(name: str) -> dict[str, str]:
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def test_the_image_is_built_once_by_the_service_that_all_others_wait_for() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"]
    assert all("migrate" in service["depends_on"] for name, service in OURS.items() if name != "migrate")
    assert set(OURS) == {"migrate", "web", "worker", "relay", "consumer", "expiry", "beat"}


@every_service
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108  # a folder of the container
    assert re.fullmatch(r"[0-9]+[mg]", service["mem_limit"])


@every_service
def test_the_log_of_every_container_has_an_end(name: str) -> None:
    assert SERVICES[name]["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


@every_service
def test_every_image_names_a_version(name: str) -> None:
    assert re.fullmatch(r"inventory-service|[a-z]+:[0-9][a-z0-9.-]*", SERVICES[name]["image"])


@every_service
def test_every_published_port_is_this_machines_alone_and_can_be_moved(name: str) -> None:
    address = r"\$\{PROXY_ADDRESS:-0\.0\.0\.0\}" if name == "proxy" else r"127\.0\.0\.1"
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(address + r":\$\{[A-Z_]+:-[0-9]+\}:[0-9]+", port), port


def test_what_may_run_more_than_once_publishes_no_port() -> None:
    assert [name for name, service in OURS.items() if "ports" in service] == ["web"]
    assert {name: service["expose"] for name, service in OURS.items() if "expose" in service} == {
        "worker": ["9808"],
        "relay": ["9809"],
        "consumer": ["9810"],
        "expiry": ["9811"],
    }


# --- .env ----------------------------------------------------------------------------------------------------------


def test_every_secret_must_be_given_and_has_no_default() -> None:
    found = interpolated(page("docker-compose.yml"))
    assert {name for name, rule in found.items() if rule.startswith("?")} == SECRETS
    assert all(found[name] == "?Set it in .env, as docs/operating/containers.md shows" for name in SECRETS)
    assert not {name: value for name, value in variables_of_example().items() if name in SECRETS and value}


def test_no_url_has_a_password_that_its_characters_could_break() -> None:
    urls = {name: value for name, value in environment_of("web").items() if name.endswith("_URL")}
    assert urls.keys() == {"DATABASE_URL", "REDIS_URL", "RABBITMQ_URL"}
    assert not [value for value in urls.values() if "$" in value or re.search(r"//[^/@]*:[^/@]*@", value)]


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_the_file_reaches_the_service(name: str) -> None:
    given = environment_of(name)
    own = {key for key in given if interpolated(given[key]).keys() != {key}}

    assert SERVICES[name]["env_file"] == [".env"]
    assert own == FIXED | {*OTHERS, "INVENTORY_PORT"}


@pytest.mark.parametrize("name", OURS)
def test_the_service_does_not_get_the_passwords_of_others(name: str) -> None:
    assert [environment_of(name)[other] for other in OTHERS] == [""] * len(OTHERS)


def test_the_proxy_reaches_the_service_and_none_of_its_servers() -> None:
    networks = {name: service["networks"] for name, service in SERVICES.items()}

    assert networks.pop("proxy") == ["front"]
    assert networks.pop("web") == ["servers", "front"]
    assert set(map(tuple, networks.values())) == {("servers",)}
    assert COMPOSE["networks"].keys() == {"front", "servers"}


def test_the_service_can_be_called_by_its_name() -> None:
    hosts = environment_of("web")["ALLOWED_HOSTS"]
    assert hosts == "${ALLOWED_HOSTS:-localhost,127.0.0.1},web"


def test_the_example_file_has_every_variable_of_the_compose_file_with_its_default() -> None:
    found = interpolated(page("docker-compose.yml"))
    own = found.keys() - variables_of_settings().keys()
    section = page(".env.example").partition("# --- read only by docker-compose.yml ---")[2]
    assert dict(re.findall(r"(?m)^#([A-Z_]+)=(.*)$", section)) == {
        name: "" if name in SECRETS else found[name].removeprefix("-") for name in own
    }


def test_the_lines_that_make_the_secrets_do_it_once(tmp_path: Path) -> None:
    text = page("docs/operating/containers.md")
    lines = re.findall(r"(?ms)^```sh\n(.*?)^```$", text.partition("## Start")[2])[0]
    (tmp_path / ".env.example").write_text(page(".env.example"))

    def run() -> str:
        subprocess.run(["sh", "-eu", "-c", lines], cwd=tmp_path, check=True)
        return (tmp_path / ".env").read_text()

    first, second = run(), run()

    values = dict(re.findall(r"(?m)^([A-Z_]+)=(.*)$", first))
    assert values.keys() == SECRETS
    assert all(re.fullmatch("[0-9a-f]{64}", value) for value in values.values())
    assert len(set(values.values())) == len(SECRETS)
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    assert second == first


# --- what is mounted -----------------------------------------------------------------------------------------------


def test_every_file_of_this_repository_that_is_mounted_is_there() -> None:
    sources = re.findall(r"(?m)^ +- (\./[^:]+):", page("docker-compose.yml"))
    assert sorted(sources) == [
        "./deploy/postgres",
        "./deploy/proxy/nginx.conf",
        "./deploy/rabbitmq/inventory.conf",
        "./deploy/rabbitmq/start.sh",
    ]
    assert all((Path(settings.BASE_DIR) / source).exists() for source in sources)


def test_the_proxy_passes_on_to_the_port_of_the_service_and_hides_its_metrics() -> None:
    config = page("deploy/proxy/nginx.conf")
    assert f"http://web:{environment_of('web')['INVENTORY_PORT']};" in config
    assert re.search(r"location = /metrics \{\s+return 404;", config)
    assert re.findall(r"listen (\d+)", config) == [port.rpartition(":")[2] for port in SERVICES["proxy"]["ports"]]


@pytest.mark.parametrize("password", ["0123456789abcdef" * 4, r'a"b\c$d`e'])
def test_rabbitmq_gets_its_users_with_their_passwords_whatever_their_characters(tmp_path: Path, password: str) -> None:
    names = {
        "inventory": "RABBITMQ_PASSWORD",
        "shop": "RABBITMQ_SHOP_PASSWORD",
        "payments": "RABBITMQ_PAYMENTS_PASSWORD",
    }
    file = tmp_path / "definitions.json"
    passwords = {variable: f"{password}{name}" for name, variable in names.items()}
    command = ["sh", str(Path(settings.BASE_DIR) / "deploy/rabbitmq/start.sh"), "env"]

    done = subprocess.run(
        command, env={"DEFINITIONS": str(file), **passwords}, capture_output=True, text=True, check=True
    )

    definitions = json.loads(file.read_text())
    users = {user["name"]: user for user in definitions["users"]}
    assert {name: user["password"] for name, user in users.items()} == {name: f"{password}{name}" for name in names}
    assert "administrator" not in str([user["tags"] for user in users.values()])
    assert file.stat().st_mode & 0o777 == 0o600
    assert password not in done.stdout  # RabbitMQ itself does not have them in its environment


def test_the_rights_of_the_service_in_rabbitmq_are_those_of_the_runbook(tmp_path: Path) -> None:
    script = page("deploy/rabbitmq/start.sh")
    patterns = re.findall(r'"(?:configure|write|read)": "(\^\(inventory[^"]*)"', script)

    documented = re.findall(r"(?m)^    '(\^\(inventory[^']*)'", page("docs/operating/operations.md"))

    assert [pattern.replace("[.]", r"\.").replace(r"\$", "$") for pattern in patterns] == documented
    assert len(documented) == 3


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def test_the_deployment_of_the_expiration_worker_runs_what_the_compose_file_runs_under_the_label_of_the_runbook() -> (
    None
):
    deployment = yaml.safe_load(page("deploy/kubernetes/expiration-worker.yaml"))
    template = deployment["spec"]["template"]
    [container] = template["spec"]["containers"]
    label = {"app": "inventory-expiration-worker"}

    assert "kubectl logs -l app=inventory-expiration-worker" in page("docs/operating/operations.md")
    assert deployment["metadata"]["labels"] == template["metadata"]["labels"] == label
    assert deployment["spec"]["selector"]["matchLabels"] == label
    assert container["command"] == SERVICES["expiry"]["command"]
    port = environment_of("expiry")["EXPIRY_METRICS_PORT"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (variables["INVENTORY_HOST"], variables["EXPIRY_METRICS_PORT"]) == ("0.0.0.0", port)  # noqa: S104
    assert container["ports"] == [{"name": "metrics", "containerPort": int(port)}]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "metrics"}
    assert variables.keys() <= variables_of_settings().keys()


def test_the_expiration_worker_waits_for_postgresql_only() -> None:
    assert SERVICES["expiry"]["depends_on"].keys() == {"migrate"}
