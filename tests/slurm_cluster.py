"""A real Slurm of two nodes on loopback, in a folder of its own; `docs/slurm.md` shows the recipe.

It needs root, `slurmctld`, `slurmd` and `munged`. Nothing of the machine's own configuration is
read or changed: every program is told where its files lie, and ends with the cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")

CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge/socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=0
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool-%n
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd-%n.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd-%n.log
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 Gres=gpu:2 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 Gres=gpu:2 State=UNKNOWN
PartitionName=debug Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
"""


def missing() -> str:
    """Return why no cluster can be started here; empty where one can."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        return f"no {', '.join(lacking)}: `apt-get install slurm-wlm munge`"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started as root"


class Cluster:
    """The daemons, from `start` to `stop`."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="slurm-"))
        self.conf = self.home / "slurm.conf"
        self.daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munged, slurmctld and two slurmd, and wait until both nodes are idle."""
        host, ports = socket.gethostname().split(".")[0], free_ports(3)
        self.conf.write_text(CONF.format(host=host, ports=ports, home=self.home))
        gres = "".join(f"NodeName=n{n} Name=gpu File=/dev/null,/dev/zero\n" for n in (1, 2))
        (self.home / "gres.conf").write_text(gres)
        for name in ("munge", "state", "spool-n1", "spool-n2"):
            (self.home / name).mkdir(mode=0o755)
        key = self.home / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.home.chmod(0o755)
        munge = self.home / "munge"
        places = [
            f"--{name}={munge / name}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        self.run(["munged", "--foreground", "--force", f"--key-file={key}", *places])
        self.until(lambda: (munge / "socket").exists(), "munged")
        self.run(["slurmctld", "-D", "-f", str(self.conf)])
        for node in ("n1", "n2"):
            self.run(["slurmd", "-D", "-N", node, "-f", str(self.conf)])
        self.until(lambda: self.idle() == 2, "slurmd")

    def run(self, command: list[str]) -> None:
        """Start a daemon in the foreground of a session of its own."""
        with (self.home / f"{command[0]}.out").open("ab") as out:
            self.daemons.append(
                subprocess.Popen(
                    # none outlives the tests, however they end
                    ["setpriv", "--pdeathsig", "TERM", *command],
                    stdout=out,
                    stderr=out,
                    env=self.environment,
                    start_new_session=True,
                )
            )

    def node_daemon(self, node: str) -> subprocess.Popen[bytes]:
        """Return what stands for a node."""
        return next(d for d in self.daemons if node in d.args)  # type: ignore[operator]

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.conf)}

    def idle(self) -> int:
        """Return how many nodes are idle."""
        return self.ask("sinfo", "-h", "-N", "-p", "debug", "-o", "%T").split().count("idle")

    def ask(self, *command: str) -> str:
        """Return what one of Slurm's commands prints."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=self.environment, timeout=900, check=False
        )
        return done.stdout

    def until(self, true: object, what: str, limit_s: float = 300.0) -> None:
        """Wait until `true()`."""
        deadline = time.monotonic() + limit_s
        while not true():  # type: ignore[operator]
            if time.monotonic() > deadline or any(d.poll() is not None for d in self.daemons):
                said = "\n".join(
                    path.read_text(errors="replace")[-800:]
                    for path in (*self.home.glob("*.out"), *self.home.glob("*.log"))
                )
                raise RuntimeError(f"{what} does not come up:\n{said}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End every job and every daemon, and remove the folder."""
        self.ask("scancel", "--user=root", "--signal=KILL", "--full")
        self.ask("scancel", "--user=root")
        deadline = time.monotonic() + 20
        while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.1)  # a job's own daemon goes on asking a controller that is gone
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def started(tries: int = 3) -> Cluster:
    """Return a cluster that is up; tries again where somebody was quicker to take a port."""
    for left in reversed(range(tries)):
        cluster = Cluster()
        try:
            cluster.start()
            return cluster
        except RuntimeError:
            cluster.stop()
            if not left:
                raise
    raise AssertionError


def free_ports(number: int) -> list[int]:
    """Return ports that nobody listens on at this moment."""
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
