"""What to do where no jail can be built: what is missing, and how a container, or the machine itself, is given it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

SYS_ADMIN, NET_ADMIN = 21, 12  # numbers of capabilities, linux/capability.h
FILTERED = "2"  # the value of Seccomp in /proc/self/status where a filter is active
UBUNTU = (
    "Ubuntu's AppArmor restricts user namespaces: {on_host}sudo apt install apparmor-profiles && "
    "sudo ln -s /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && "
    "sudo systemctl reload apparmor (or, until reboot: "
    "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0)"
)
NAMESPACES = "sudo sysctl user.max_user_namespaces=15000 kernel.unprivileged_userns_clone=1"


class Container(str, Enum):
    """What this process is run by."""

    NONE = "none"
    DOCKER = "docker"
    PODMAN = "podman"
    KUBERNETES = "kubernetes"


class Withheld(Enum):
    """What a container withholds of what building a jail takes."""

    ADMIN = "the capabilities SYS_ADMIN and NET_ADMIN"
    SECCOMP = "system calls (seccomp)"
    APPARMOR = "mounting (AppArmor)"
    PROC = "mounting /proc"


GIVEN_BY = {
    Container.DOCKER: {
        Withheld.ADMIN: "--cap-add SYS_ADMIN --cap-add NET_ADMIN",
        Withheld.SECCOMP: "--security-opt seccomp=unconfined",
        Withheld.APPARMOR: "--security-opt apparmor=unconfined",
        Withheld.PROC: "--security-opt systempaths=unconfined",
    },
    Container.PODMAN: {
        Withheld.ADMIN: "--cap-add SYS_ADMIN --cap-add NET_ADMIN",
        Withheld.SECCOMP: "--security-opt seccomp=unconfined",
        Withheld.APPARMOR: "--security-opt apparmor=unconfined",
        Withheld.PROC: "--security-opt unmask=ALL",
    },
    Container.KUBERNETES: {
        Withheld.ADMIN: 'capabilities: {add: ["SYS_ADMIN", "NET_ADMIN"]}',
        Withheld.SECCOMP: "seccompProfile: {type: Unconfined}",
        Withheld.APPARMOR: "appArmorProfile: {type: Unconfined}",
        Withheld.PROC: "procMount: Unmasked",
    },
}


@dataclass(frozen=True)
class Granted:
    """What the kernel and the container grant this process."""

    container: Container = Container.NONE
    is_root: bool = False
    capabilities: int = 0  # effective ones, as bits
    is_filtered: bool = False  # by seccomp
    has_profile: bool = False  # of AppArmor's
    restricts_namespaces: bool = False  # Ubuntu's AppArmor
    most_namespaces: int | None = None

    @property
    def is_admin(self) -> bool:
        return all(self.capabilities >> number & 1 for number in (SYS_ADMIN, NET_ADMIN))


def look_around(top: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Granted:
    """What can be read about this process; what cannot be read counts as granted."""
    status = dict(line.split(":", 1) for line in _text(top / "proc/self/status").splitlines() if ":" in line)
    most = _text(top / "proc/sys/user/max_user_namespaces")
    profile = _text(top / "proc/self/attr/current")
    return Granted(
        container=_container(top, environment),
        is_root=os.geteuid() == 0,
        capabilities=int(status.get("CapEff", "0").strip() or "0", 16),
        is_filtered=status.get("Seccomp", "").strip() == FILTERED,
        has_profile="(enforce)" in profile,
        restricts_namespaces=_text(top / "proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1",
        most_namespaces=int(most) if most.isdecimal() else None,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip("\0\n ")
    except OSError:
        return ""


def _container(top: Path, environment: Mapping[str, str]) -> Container:
    """By the marks that they leave; Kubernetes first, as it runs on top of others."""
    if "KUBERNETES_SERVICE_HOST" in environment:
        return Container.KUBERNETES
    if (top / "run/.containerenv").exists():
        return Container.PODMAN
    return Container.DOCKER if (top / ".dockerenv").exists() else Container.NONE


def remedy_for(problem: str, around: Granted) -> str:
    """What to do, in words and commands; `problem` is what bwrap said."""
    cannot_mount_proc = "mount proc" in problem
    if around.container is Container.NONE:
        return _for_a_machine(around, cannot_mount_proc)
    missing = list(_withheld(around, cannot_mount_proc))
    steps = [_given(around.container, missing)] if missing else []
    steps += _on_the_host(around)
    return "; ".join(steps) or _given(around.container, list(Withheld))


def _for_a_machine(around: Granted, cannot_mount_proc: bool) -> str:
    if around.restricts_namespaces and not around.is_root:
        return UBUNTU.format(on_host="")
    if cannot_mount_proc:
        return "inside a container, allow mounting /proc: docker run --security-opt systempaths=unconfined …"
    if around.is_root and not around.is_admin:
        return f"root lacks {Withheld.ADMIN.value} here: grade as an ordinary user, or where root has them"
    return f"allow user namespaces: {NAMESPACES}"


def _withheld(around: Granted, cannot_mount_proc: bool) -> Iterator[Withheld]:
    """What this container withholds. Root builds a jail by capabilities, anybody else by a user namespace."""
    if around.is_root and not around.is_admin:
        yield Withheld.ADMIN  # the usual filters of system calls let these pass then
    elif around.is_filtered:
        yield Withheld.SECCOMP
    if around.has_profile:
        yield Withheld.APPARMOR
    if cannot_mount_proc:
        yield Withheld.PROC


def _given(container: Container, missing: list[Withheld]) -> str:
    """How this container is given what it lacks: options of its own command, or lines of its description."""
    what = ", ".join(one.value for one in missing)
    ways = [GIVEN_BY[container][one] for one in missing]
    if container is Container.KUBERNETES:
        return f"the pod withholds {what}: in the container's securityContext set {', '.join(ways)}"
    return f"the container withholds {what}: start it with `{container.value} run {' '.join(ways)} …`"


def _on_the_host(around: Granted) -> Iterator[str]:
    """What no option of a container's changes."""
    if around.is_root and around.is_admin:
        return
    if around.restricts_namespaces and not around.is_root:
        yield UBUNTU.format(on_host="on the host, not in the container: ")
    if around.most_namespaces == 0:
        yield f"on the host, not in the container: {NAMESPACES}"
