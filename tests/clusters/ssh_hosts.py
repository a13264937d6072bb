"""Hosts that answer SSH, made of namespaces of this machine: each has an address, processes, a home and a /tmp
of its own. They share the file system beneath, and the folder /mnt/shared, as an NFS mount would be shared.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync")
USER, HOME = "ubuntu", "/mnt/home"
BRIDGE = "192.0.2.254"  # the network of the file's examples; it exists in these namespaces alone
SSHD = """
Port 22
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
"""


def what_is_missing() -> str | None:
    """Why this machine cannot play several hosts; None if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install openssh-server iproute2 rsync"
    probe = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc"]
    probe += ["ip", "link", "add", "type", "veth"]
    if subprocess.run(probe, capture_output=True, env=os.environ | {"PATH": _PATH}).returncode != 0:
        return "needs the right to make network namespaces (root)"
    hidden = [p for p in (sys.prefix, sys.base_prefix, str(Path.cwd())) if p.startswith(("/tmp/", "/mnt/"))]
    return f"each host has a /tmp and a /mnt of its own, and {hidden[0]} is there" if hidden else None


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Hosts:
    """A client at the bridge's address, and hosts of the given addresses, which it may log in to as root."""

    def __init__(self, folder: Path, addresses: tuple[str, ...]) -> None:
        self.folder, self._processes, self._spaces = folder, [], []
        self.client = f"ug{os.getpid()}"
        self.home = folder / "client" / "home"
        for mounted in ("shared", "home"):
            (folder / "mnt" / mounted).mkdir(parents=True)
        others = Path("/etc/passwd").read_text()
        (folder / "passwd").write_text(f"{USER}:x:0:0::{HOME}:/bin/bash\n{others}")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key")
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        try:
            self._network(addresses)
            self._folders("client")
            (self.home / ".ssh").mkdir(mode=0o700)
            shutil.copy(folder / "key", self.home / ".ssh" / "id_ed25519")
            for number, address in enumerate(addresses):
                self._host(f"host{number}", self._spaces[number + 1], address)
            self._await_ssh(addresses)
        except BaseException:
            self.close()
            raise

    def run(self, *command: object, **options: object) -> subprocess.CompletedProcess[str]:
        """A command on the client, in the working folder of this process."""
        return subprocess.run(self.command(*command), env=self.environment, text=True, **options)

    def command(self, *command: object) -> list[str]:
        """How to start a command on the client."""
        return _inside(self.client, self._mounts("client") + 'exec "$@"', *map(str, command))

    @property
    def environment(self) -> dict[str, str]:
        """A client's environment: its own home, and nothing of this process's Ray."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SSH_", "UNLEARN_"))}
        return kept | {"HOME": HOME, "PATH": f"{Path(sys.executable).parent}:{_PATH}", "USER": USER}

    def close(self) -> None:
        """Ends every process of every host, and their network."""
        for process in self._processes:
            process.send_signal(signal.SIGKILL)  # with --kill-child, the host's first process and all others
            process.wait(30)
        for space in self._spaces:
            subprocess.run(["ip", "netns", "del", space], env=self.environment)

    def _network(self, addresses: tuple[str, ...]) -> None:
        self._space(self.client)
        _ip(self.client, "link add br0 type bridge")
        _ip(self.client, f"addr add {BRIDGE}/24 dev br0")
        _ip(self.client, "link set br0 up")
        for number, address in enumerate(addresses):
            space = f"{self.client}h{number}"
            self._space(space)
            _ip(self.client, f"link add port{number} type veth peer name eth0 netns {space}")
            _ip(self.client, f"link set port{number} master br0 up")
            _ip(space, f"addr add {address}/24 dev eth0")
            _ip(space, "link set eth0 up")
            # Ray finds its own address by asking which way a public address would go; nothing is sent there
            _ip(space, f"route add default via {BRIDGE}")

    def _space(self, name: str) -> None:
        _run("ip", "netns", "add", name)
        self._spaces.append(name)
        _ip(name, "link set lo up")

    def _folders(self, name: str) -> None:
        for part in ("home", "tmp"):
            (self.folder / name / part).mkdir(parents=True)

    def _mounts(self, name: str) -> str:
        """Lines that give a new mount namespace the host's own folders; /tmp last, as they may lie there."""
        own = self.folder / name
        binds = {
            self.folder / "passwd": "/etc/passwd",
            self.folder / "mnt": "/mnt",
            own / "home": HOME,
            own / "tmp": "/tmp",
        }
        return "set -e; " + "".join(f"mount --bind {a} {b}; " for a, b in binds.items())

    def _host(self, name: str, space: str, address: str) -> None:
        self._folders(name)
        _make_environment(self.folder / name / "home" / "unlearn-grid")
        held = self.folder / "mnt" / name
        held.mkdir()
        for file in ("host_key", "key.pub"):
            shutil.copy(self.folder / file, held)
        (held / "sshd_config").write_text(SSHD.format(address=address, folder=f"/mnt/{name}"))
        first = f"hostname {name}; mount -t tmpfs none /run; mkdir /run/sshd; "
        # the shell stays as the host's first process, so that it collects what daemons leave behind
        serve = f"{shutil.which('sshd', path=_PATH)} -f /mnt/{name}/sshd_config; while :; do sleep 1; done"
        command = _inside(space, self._mounts(name) + first + serve)
        self._processes.append(subprocess.Popen(command, env=self.environment, start_new_session=True))

    def _await_ssh(self, addresses: tuple[str, ...]) -> None:
        quiet = [
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=2",
        ]
        for address in addresses:
            for _ in range(50):
                login = self.run("ssh", *quiet, f"{USER}@{address}", "true", capture_output=True)
                if login.returncode == 0:
                    break
                time.sleep(0.2)
            else:
                raise RuntimeError(f"no SSH at {address}: {login.stderr}")


def _inside(space: str, script: str, *arguments: str) -> list[str]:
    """A shell script in a network namespace, with mounts and processes of its own."""
    own = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc"]
    return ["ip", "netns", "exec", space, *own, "bash", "-c", script, "bash", *arguments]


def _make_environment(folder: Path) -> None:
    """What the setup commands leave, around this interpreter's environment: they find it newer than the lock."""
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    tomorrow = time.time() + 24 * 3600
    (folder / "ready").touch()
    os.utime(folder / "ready", (tomorrow, tomorrow))


def _ip(space: str, words: str) -> None:
    _run("ip", "-n", space, *words.split())


def _run(*command: object) -> None:
    subprocess.run(
        [str(c) for c in command], env=os.environ | {"PATH": _PATH}, check=True, stdin=subprocess.DEVNULL
    )
