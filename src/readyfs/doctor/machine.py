"""The machine: the device, the set-uid helper, what other users may see, crawlers, limits."""

from __future__ import annotations

import errno
import os
import pwd
import re
import resource
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from readyfs import native
from readyfs.doctor.finding import Finding, good, note, problem, quote, show, warning
from readyfs.doctor.subject import Places, Subject
from readyfs.fuse.availability import permits_allow_other
from readyfs.fuse.fusermount import allowing_command, is_confined
from readyfs.fuse.mount_table import READYFS_TYPE
from readyfs.text import escape_text

FEW_DESCRIPTORS: Final = 8192
"""Below this, one wide query (DuckDB, Spark) may well open as many files as a daemon may hold."""

_FUSE_NUMBER: Final = (10, 229)
_INSTALLERS: Final = {
    "apt-get": "apt-get install -y fuse3",
    "dnf": "dnf install -y fuse3",
    "zypper": "zypper install -y fuse3",
    "apk": "apk add fuse3",
    "pacman": "pacman -S --noconfirm fuse3",
}
_UPDATEDB: Final = ("updatedb", "updatedb.plocate", "updatedb.mlocate")
_ASSIGNMENT: Final = re.compile(r'^[ \t]*(\w+)[ \t]*=[ \t]*"([^"]*)"', re.MULTILINE)


def look_at_user(subject: Subject) -> Iterator[Finding]:
    """Say as whom the doctor looks: another user's rights may differ."""
    name = _user_name(os.geteuid())
    if subject.privileged:
        yield good("user", f"examined as {name} with CAP_SYS_ADMIN: readyfs mounts by itself")
    else:
        yield good(
            "user",
            f"examined as {name} without CAP_SYS_ADMIN: fusermount3 does the mounting, and passthrough cannot be had",
        )


def look_at_compiled_part() -> Iterator[Finding]:
    """Say whether the compiled module is there, without which a mount costs more."""
    if native.module is not None:
        yield good("compiled-part", "readyfs has its compiled part")
        return
    yield note(
        "compiled-part",
        f"readyfs works without its compiled part, and slower: {escape_text(native.obstacle)}",
        "install gcc and the headers of this Python, and readyfs again",
    )


def look_at_device(places: Places) -> Iterator[Finding]:
    """See whether this user can open /dev/fuse."""
    device = places.device
    shown = show(device)
    make = f"rm -f {quote(device)}; mknod -m 666 {quote(device)} c {_FUSE_NUMBER[0]} {_FUSE_NUMBER[1]}"
    grant = "docker run --device /dev/fuse --cap-add SYS_ADMIN ..."
    try:
        status = device.stat()
        if not stat.S_ISCHR(status.st_mode):
            yield problem("fuse-device", f"{shown} is not a device", make)
            return
        number = (os.major(status.st_rdev), os.minor(status.st_rdev))
        if number != _FUSE_NUMBER:
            yield problem("fuse-device", f"{shown} is device {number[0]}:{number[1]}, not FUSE's", make)
            return
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        yield problem("fuse-device", f"{shown} does not exist", grant if places.in_container else "modprobe fuse")
    except OSError as error:
        match error.errno:
            case errno.EACCES:
                remedy = f"sudo chmod 666 {quote(device)}"
            case errno.EPERM:  # the device's control group refuses it
                remedy = grant
            case _:
                remedy = "modprobe fuse"
        yield problem("fuse-device", f"{shown} cannot be opened by this user ({error.strerror})", remedy)
    else:
        yield good("fuse-device", f"{shown} can be read and written")


def look_at_helper(subject: Subject) -> Iterator[Finding]:
    """See whether the set-uid helper is there and can have effect, where it is needed."""
    if subject.privileged:
        yield good("fusermount3", "not needed with CAP_SYS_ADMIN")
        return
    places = subject.places
    found = shutil.which(places.fusermount, path=places.search_path)
    if found is None:
        installer = next((line for tool, line in _INSTALLERS.items() if _is_installed(tool, places)), None)
        yield problem(
            "fusermount3",
            f"{places.fusermount} is not installed, and without it only root can mount",
            f"sudo {installer or _INSTALLERS['apt-get']}",
        )
        return
    path = Path(os.path.realpath(found))
    status = path.stat()
    if not status.st_mode & stat.S_ISUID or status.st_uid != 0:
        yield problem(
            "fusermount3",
            f"{show(path)} is not set-uid root, so it cannot mount for anybody",
            f"sudo chown root {quote(path)} && sudo chmod u+s {quote(path)}",
        )
    elif os.statvfs(path).f_flag & os.ST_NOSUID:
        yield problem(
            "fusermount3",
            f"{show(path)} lies on a file system mounted nosuid, so its set-uid bit has no effect",
            f'sudo mount -o remount,suid "$(findmnt -no TARGET -T {quote(path)})"',
        )
    elif re.search(r"^NoNewPrivs:\s*1$", places.process_status.read_text(), re.MULTILINE):
        yield problem(
            "fusermount3",
            "this process runs with no_new_privs, under which set-uid programs have no effect",
            "set NoNewPrivileges=no in the unit (docker: leave out --security-opt no-new-privileges)",
        )
    elif is_confined(places.apparmor, places.apparmor_profile):
        place = os.fspath(subject.mountpoint or "/srv/ready")
        yield note(
            "fusermount3",
            f"{show(path)} is set-uid root, and AppArmor confines it ({show(places.apparmor_profile)}): it may mount "
            "below home directories and some others only",
            f"{allowing_command(place, places.apparmor_profile)}  # to mount at {escape_text(place)}",
        )
    else:
        yield good("fusermount3", f"{show(path)} is set-uid root")


def look_at_other_users(subject: Subject) -> Iterator[Finding]:
    """See whether other users can read a mount."""
    conf = subject.places.fuse_conf
    if subject.privileged:
        seen = "can read a mount" if subject.allow_other else "cannot read a mount, as --no-allow-other asks"
        yield good("allow-other", f"other users {seen}")
        return
    remedy = f"echo user_allow_other | sudo tee -a {quote(conf)}"
    if permits_allow_other(conf):
        yield good("allow-other", f"{show(conf)} lets a user's mounts be read by others")
    elif subject.allow_other:
        yield problem("allow-other", f"--allow-other is refused: {show(conf)} has no line user_allow_other", remedy)
    else:
        yield note(
            "allow-other",
            f"nobody but you, root included, can read your mounts; --allow-other is refused, since {show(conf)} has no "
            "line user_allow_other",
            remedy,
        )


def look_at_crawlers(subject: Subject) -> Iterator[Finding]:
    """See whether updatedb would walk every partition, once a day, of every mount."""
    places = subject.places
    tool = next((name for name in _UPDATEDB if _is_installed(name, places)), None)
    if tool is None:
        yield good("updatedb", "updatedb is not installed")
        return
    conf = places.updatedb_conf
    try:
        values = dict(_ASSIGNMENT.findall(conf.read_text("utf-8", "replace")))
    except FileNotFoundError:
        values = {}
    types = values.get("PRUNEFS", "").split()
    if READYFS_TYPE.casefold() in map(str.casefold, types):
        yield good("updatedb", f"updatedb leaves {READYFS_TYPE} alone")
        return
    pruned = [Path(path) for path in values.get("PRUNEPATHS", "").split()]
    place = subject.mountpoint
    if place is not None and any(place.is_relative_to(path) for path in pruned):
        yield good("updatedb", f"updatedb does not enter {show(place)} (PRUNEPATHS)")
        return
    if "PRUNEFS" in values:
        remedy = rf"""sudo sed -i 's/^\([ \t]*PRUNEFS[ \t]*=[ \t]*"\)/\1{READYFS_TYPE} /' {quote(conf)}"""
    else:
        line = shlex.quote(f'PRUNEFS="{READYFS_TYPE}"')
        remedy = f"echo {line} | sudo tee -a {quote(conf)}"
    yield warning("updatedb", f"updatedb walks every mount: {show(conf)} does not name {READYFS_TYPE}", remedy)


def look_at_descriptors() -> Iterator[Finding]:
    """See how many files a daemon could have open; it raises the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= FEW_DESCRIPTORS:
        shown = "any number of" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        yield good("descriptors", f"a daemon started here may have {shown} files open")
        return
    line = f"{_user_name(os.geteuid())} hard nofile 65536"
    yield warning(
        "descriptors",
        f"a daemon started here may have only {hard:,} files open (ulimit -Hn), which a wide query can use up",
        f"echo '{line}' | sudo tee /etc/security/limits.d/readyfs.conf  # in a unit: LimitNOFILE=65536",
    )


def _is_installed(program: str, places: Places) -> bool:
    return shutil.which(program, path=places.search_path) is not None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
