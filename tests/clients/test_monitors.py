"""The definitions for Nagios and Icinga, and the crontab, as those programs themselves take them and run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.clients.packages import unpack
from tests.fuse.live_mount import daemon
from tests.metrics.test_monitoring import MONITORING
from tests.mount.daemon import Place, partition, wait_until
from tests.schedulers.cron_page import CRONTAB, crontab_lines

pytestmark = pytest.mark.clients

READYFS: Final = str(Path(sys.executable).with_name("readyfs"))
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

AROUND_NAGIOS: Final = f"""
define timeperiod {{
    timeperiod_name always
    alias           always
{"".join(f"    {day} 00:00-24:00{chr(10)}" for day in DAYS)}}}
define command {{
    command_name tell
    command_line /bin/true
}}
define contact {{
    contact_name                  operators
    host_notification_commands    tell
    service_notification_commands tell
    host_notification_period      always
    service_notification_period   always
}}
define service {{
    name                  generic-service
    register              0
    check_period          always
    notification_period   always
    notification_interval 60
    contacts              operators
    max_check_attempts    3
}}
define host {{
    host_name           warehouse
    address             127.0.0.1
    max_check_attempts  3
    check_period        always
    notification_period always
    contacts            operators
}}
"""

NAGIOS: Final = """
nagios_user=root
nagios_group=root
cfg_file={base}/ours.cfg
cfg_file={base}/around.cfg
log_file={base}/nagios.log
object_cache_file={base}/objects.cache
status_file={base}/status.dat
status_update_interval=1
state_retention_file={base}/retention.dat
check_result_path={base}/results
temp_path={base}
temp_file={base}/nagios.tmp
lock_file={base}/nagios.lock
command_file={base}/nagios.cmd
query_socket={base}/nagios.qh
max_service_check_spread=1
interval_length=1
check_for_updates=0
use_syslog=0
illegal_macro_output_chars=`~$&|'"<>
"""

ICINGA: Final = """
include <itl>
template Service "generic-service" {{ max_check_attempts = 5 }}
include "{base}/ours.conf"
object CheckerComponent "checker" {{ }}
object PerfdataWriter "told" {{
  service_perfdata_path = "{base}/service"
  service_temp_path = "{base}/service.tmp"
  host_perfdata_path = "{base}/host"
  host_temp_path = "{base}/host.tmp"
  rotation_interval = 1s
  service_format_template = "$service.state$ $service.output$ | $service.perfdata$"
}}
"""
LIBRARIES: Final = ("libboost-context1.74.0", "libboost-coroutine1.74.0", "libboost-thread1.74.0")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    with closing(found.producer):
        (found.base / "sales.toml").write_text(f'state = "{found.state}"\nuntil = 2024-06-01\n')
        found.producer.expect(partition(date="2024-06-01"))
        yield found


def ours(place: Place, name: str) -> str:
    """Return a definition with the places of a test in it."""
    text = (MONITORING / name).read_text(encoding="utf-8")
    return text.replace("/usr/local/bin/readyfs", READYFS).replace("/etc/readyfs/", f"{place.base}/")


def checked(words: list[str], environment: Mapping[str, str]) -> None:
    """Run a check of a configuration, which must find no fault."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "rror:" not in said, said


@contextmanager
def serving(
    words: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[Callable[[Callable[[], str]], str]]:
    """Run a server; yield what waits until a text is there, and returns it."""
    with log.open("wb") as out, subprocess.Popen(words, env=environment, stdout=out, stderr=out) as process:

        def answer(ask: Callable[[], str]) -> str:
            wait_until(lambda: bool(ask()), "it has run the plugin", 60)
            return ask()

        try:
            yield answer
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def test_nagios_takes_the_definition_and_runs_the_plugin(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = unpack(tmp_path_factory.mktemp("nagios") / "root", "nagios4-core") / "usr/sbin/nagios4"
    (place.base / "results").mkdir()
    (place.base / "around.cfg").write_text(AROUND_NAGIOS)
    (place.base / "nagios.cfg").write_text(NAGIOS.format(base=place.base))
    (place.base / "ours.cfg").write_text(re.sub(r"(_interval +)15", r"\g<1>1", ours(place, "nagios.cfg")))
    config, status = str(place.base / "nagios.cfg"), place.base / "status.dat"
    checked([str(program), "-v", config], os.environ)

    def told() -> str:
        text = status.read_text() if status.exists() else ""
        found = re.search(
            r"servicestatus \{.*?current_state=(\d)\n.*?\tplugin_output=(READYFS.+?)\n.*?performance_data=(.+?)\n",
            text,
            re.DOTALL,
        )
        return " ".join(found.groups()) if found else ""

    with serving([str(program), config], os.environ, place.base / "out") as answer:
        assert answer(told).startswith(
            "2 READYFS CRITICAL - 1 date late in 1 of 1 series: s1/c1/q1 2024-06-01 pending err"
        )


def test_icinga_takes_the_definition_and_runs_the_plugin(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = unpack(tmp_path_factory.mktemp("icinga") / "root", "icinga2-bin", "icinga2-common", *LIBRARIES)
    (program,) = root.glob("usr/lib/*/icinga2/sbin/icinga2")
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parents[2])}
    (place.base / "icinga.conf").write_text(ICINGA.format(base=place.base))
    (place.base / "ours.conf").write_text(ours(place, "icinga2.conf").replace("_interval = 15m", "_interval = 1s"))
    words = [str(program), "daemon", "-c", f"{place.base}/icinga.conf", "-I", f"{root}/usr/share/icinga2/include"]
    for name in ("ConfigDir", "DataDir", "LogDir", "CacheDir", "SpoolDir", "InitRunDir"):
        (place.base / name).mkdir()
        words += ["-D", f"{name}={place.base / name}"]
    words += ["-D", f"PidPath={place.base}/pid", "-D", "RunAsUser=root", "-D", "RunAsGroup=root"]
    checked([*words, "-C"], environment)

    def told() -> str:
        lines = "".join(path.read_text() for path in sorted(place.base.glob("service*")))
        return next((line for line in lines.splitlines() if "READYFS" in line), "")

    with serving(words, environment, place.base / "out") as answer:
        assert answer(told).startswith(
            "CRITICAL READYFS CRITICAL - 1 date late in 1 of 1 series: s1/c1/q1 2024-06-01 pending"
        )


@pytest.fixture
def spool() -> Iterator[list[str]]:
    """The words before a command that may write below /var/spool, and nothing stays there."""
    script = "mount -t tmpfs none /var/spool && mkdir -p /var/spool/cron/crontabs && echo ready && exec cat"
    with daemon(("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script)) as process:
        yield ["nsenter", f"--mount=/proc/{process.pid}/ns/mnt", "--"]


def test_cron_takes_the_lines(tmp_path: Path, spool: list[str]) -> None:
    program = unpack(tmp_path / "root", "cron") / "usr/bin/crontab"
    variables = [line for line in CRONTAB.splitlines() if re.match(r"\w+=", line)]
    # A user's own crontab, which this program checks, has no column with the user.
    lines = [f"{' '.join(line.fields)} {line.command}" for line in crontab_lines()]
    for name, more, expected in (("good", [], 0), ("bad", ["61 * * * * true"], 1)):
        path = tmp_path / name
        path.write_text("\n".join([*variables, *lines, *more, ""]))
        words = [*spool, str(program), "-n", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, "errors in crontab" in done.stderr) == (expected, bool(expected)), done.stderr


def test_the_crontab_is_one_for_systemd_cron_as_well(tmp_path: Path) -> None:
    """It reads files of /etc/cron.d, with a column for the user, and makes a timer and a service of each line."""
    root = unpack(tmp_path / "root", "systemd-cron")
    there, made = tmp_path / "cron.d", tmp_path / "made"
    there.mkdir()
    made.mkdir()
    (there / "readyfs-sales").write_text(CRONTAB)
    generator = root / "lib/systemd/system-generators/systemd-crontab-generator"
    script = 'mkdir -p /etc/cron.d && mount --bind "$1" /etc/cron.d && exec "$2" "$3"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    subprocess.run([*words, there, generator, made], capture_output=True, timeout=30, check=True)
    services = [path.read_text() for path in made.glob("cron-readyfs-sales-*.service")]
    assert len(services) == len(list(made.glob("cron-readyfs-sales-*.timer"))) == len(crontab_lines())
    scripts = {path.read_text().strip() for path in made.glob("cron-readyfs-sales-*.sh")}
    assert scripts == {line.command for line in crontab_lines()}
    users = [user for text in services for user in re.findall(r"^User=(\w+)$", text, re.MULTILINE)]
    assert sorted(users) == sorted(line.user for line in crontab_lines())
