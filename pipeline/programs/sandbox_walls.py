"""The walls of the sandbox: namespaces, a file system of its own, limits, and rights given up. Linux 5.12 or newer.

Used by `sandbox_inside` in a process of its own: only the standard library, and every function here changes
the process that calls it. All raise OSError that names the step the kernel refused.
"""

import contextlib
import ctypes
import os
import random
import resource
import signal
import struct

USER = 1000
"""The user and group that programs are, as they see it."""
SCRATCH = "/scratch"
"""The only folder that a program can write to; /tmp leads there."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_USER, _NEW_PID, _NEW_NET, _NEW_IPC, _NEW_UTS, _NEW_MOUNTS = 1 << 28, 1 << 29, 1 << 30, 1 << 27, 1 << 26, 1 << 17
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _BOUNDING, _NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38
_CAPABILITIES_V3 = 0x20080522


def die_with_parent() -> None:
    """Be killed as soon as the parent is gone."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)


def enter_namespaces() -> None:
    """New user, process, network, ipc, host name and mount namespaces; children are born into them."""
    asked, ask = os.pipe()
    writer = os.fork()
    if not writer:
        os.close(ask)
        mapped = not os.read(asked, 1) or _map_users(os.getppid())
        os._exit(0 if mapped else 1)
    with contextlib.suppress(PermissionError):
        # Only root can; groups of others are unknown inside, and what they could open is not shown there.
        os.setgroups([])
    try:
        flags = _NEW_USER | _NEW_PID | _NEW_NET | _NEW_IPC | _NEW_UTS | _NEW_MOUNTS
        _check(_LIBC.unshare(flags), "new namespaces (user namespaces may be switched off here)")
        os.write(ask, b"x")
    finally:
        os.close(ask)
        os.close(asked)
        failed = os.waitpid(writer, 0)[1]
    if failed:
        raise OSError(0, "not permitted", "users of the namespace")
    _LIBC.sethostname(b"sandbox", 7)


def _map_users(pid: int) -> bool:
    """Programs of root run as a user that nobody else is: limits on processes never hold for root itself."""
    user, group = os.geteuid(), os.getegid()
    other = random.SystemRandom().randrange(1 << 30, 1 << 31)
    maps = [(f"0 0 1\n{USER} {nobody} 1",) * 2 for nobody in (other, 65534)] if user == 0 else []
    alone = (f"{USER} {user} 1", f"{USER} {group} 1")
    for users, groups in (*maps, alone):
        try:
            if (users, groups) == alone:
                _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/uid_map", users)
            _write(f"/proc/{pid}/gid_map", groups)
        except OSError:
            continue
        return True
    return False


def build_root(readable: list[str]) -> int | None:
    """A root of its own: `readable` (files and folders of the machine), read-only, /dev/null and its like, no more.

    Returns a descriptor of a /proc that no program can reach; None where the kernel grants none.
    """
    os.umask(0o022)
    _prctl(_DUMPABLE, 0)
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    os.mkdir("/tmp/.old")
    _check(_LIBC.pivot_root(b"/tmp", b"/tmp/.old"), "pivot_root")
    os.chdir("/")
    for path in readable:
        _show(path)
    for name in ("null", "zero", "full", "random", "urandom"):
        _show(f"/dev/{name}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"/dev/{name}")
    for folder in (SCRATCH, "/proc"):
        os.mkdir(folder)
    for name in ("/dev/shm", "/tmp"):
        # What is to be readable may lie in the machine's /tmp.
        if not os.path.lexists(name):
            os.symlink(SCRATCH, name)
    proc = _open_proc()
    _check(_LIBC.umount2(b"/.old", _DETACH), "leaving the old root")
    os.rmdir("/.old")
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    for capability in range(64):
        _prctl(_BOUNDING, capability)
    return proc


def _show(path: str) -> None:
    source = "/.old" + path
    if not os.path.lexists(source):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(source):
        os.symlink(os.readlink(source), path)
        return
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    _mount(source, path, None, _BIND | _REC)
    no_devices = 0 if path.startswith("/dev/") else _NODEV
    attributes = struct.pack("QQQQ", _RDONLY | _NOSUID | no_devices, 0, 0, 0)
    done = _LIBC.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, len(attributes))
    _check(done, f"making {path} read-only")


def _open_proc() -> int | None:
    flags = _NOSUID | _NODEV | _NOEXEC
    try:
        _mount("proc", "/proc", "proc", flags)
    except OSError:
        return None
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    _check(_LIBC.umount2(b"/proc", _DETACH), "hiding /proc")
    with contextlib.suppress(OSError):
        # What programs see: their own processes, and none of the kernel's files. Kernels before 5.8 can't: no /proc.
        _mount("proc", "/proc", "proc", flags | _RDONLY, "subset=pid,hidepid=invisible")
    return proc


def fresh_scratch(size_bytes: int) -> None:
    """An empty scratch folder that only this process and its children see, and the way into it."""
    _check(_LIBC.unshare(_NEW_MOUNTS), "a mount namespace for the scratch folder")
    options = f"size={size_bytes},nr_inodes=4096,mode=700,uid={USER},gid={USER}"
    _mount("tmpfs", SCRATCH, "tmpfs", _NOSUID | _NODEV, options)
    os.chdir(SCRATCH)


def limit(*, memory_bytes: int, cpu_s: float, processes: int, files: int, scratch_bytes: int) -> None:
    """Limits that the kernel itself holds, for each process alone (`processes`: for all of this user)."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        # The supervisor stops at the exact time; this is for the moment in which it does not look.
        (resource.RLIMIT_CPU, int(cpu_s) + 2),
        # Two more than allowed, so that the supervisor sees that there are too many and can say so.
        (resource.RLIMIT_NPROC, processes + 2),
        (resource.RLIMIT_NOFILE, files),
        (resource.RLIMIT_FSIZE, scratch_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 1 << 16),
    ):
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def drop_rights(seccomp: bytes) -> None:
    """Become the sandbox's user, without capabilities, with no way to new ones, behind the filter (empty: none)."""
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    _check(_LIBC.capset(struct.pack("II", _CAPABILITIES_V3, 0), bytes(24)), "giving up capabilities")
    _check(_prctl(_NO_NEW_PRIVILEGES, 1), "no new privileges")
    if seccomp:
        rules = ctypes.create_string_buffer(seccomp, len(seccomp))
        program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(seccomp) // 8, ctypes.addressof(rules)))
        _check(_prctl(_SECCOMP, 2, ctypes.addressof(program)), "the filter of system calls")


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    source_b, target_b, kind_b, data_b = (
        None if text is None else text.encode() for text in (source, target, kind, data)
    )
    _check(_LIBC.mount(source_b, target_b, kind_b, ctypes.c_ulong(flags), data_b), f"mount on {target}")


def _prctl(option: int, *arguments: int) -> int:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    done: int = _LIBC.prctl(option, *(ctypes.c_ulong(argument) for argument in padded))
    return done


def _check(result: int, step: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), step)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
