"""Confine this process, then become another program.

    python -I -S jail.py [--write PATH | --protect PATH | --hide PATH | --cwd PATH | --env NAME=VALUE]... -- PROGRAM ...

Paths are absolute and free of symbolic links. Beneath a `--write` everything may be changed except what lies in a
`--protect`; nothing in a `--hide` can be read or changed. The program starts in `--cwd` with exactly the variables
given by `--env`: they are arguments, so that neither a library path nor the directory of a repository has a say in
how this launcher itself starts.
Linux only: Landlock for files, ports and signals, seccomp for sockets and dangerous calls, rlimits.
Fails closed: when a step fails, the program is not started, the reason goes to stderr and the exit code is 125.
Imports only what loads in a few milliseconds (no json, no pathlib), because this runs before every command.
"""

import ctypes
import errno
import os
import resource
import stat
import struct
import sys

EXIT_JAIL_FAILED = 125
EXIT_NOT_FOUND = 127
MESSAGE_PREFIX = "qcn-jail: "

# linux/landlock.h. A right is only asked for when the running kernel's ABI knows it.
WRITE_FILE, READ_FILE, REMOVE_DIR, REMOVE_FILE = 1 << 1, 1 << 2, 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = (1 << bit for bit in range(10, 16))
_CHANGES = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
_DEVICE_NODES = MAKE_CHAR | MAKE_BLOCK  # handled, so never allowed
_FILE_RIGHTS = WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_BIND_AND_CONNECT_TCP = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where semaphores of multiprocessing live
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", _SHARED_MEMORY)
_ALL_DEVICES = "/dev"  # terminals among them: what is written there acts on them, what is read there the user typed

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER, _PR_CAPBSET_DROP = 1, 38, 22, 2, 24
_KEPT_CAPABILITIES = (0, 1, 3, 4)  # root in a container may need CHOWN, DAC_OVERRIDE, FOWNER, FSETID for its files
_MAX_CAPABILITY = 63
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_RET_KILL, _RET_ERRNO, _RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_SET, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGUMENTS = 0, 4, 16
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET,TIME}
_SOCK_TYPE_MASK, _SOCK_DGRAM = 0xF, 2

# Numbers on x86_64 and aarch64.
_DENIED_CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}
_SOCKET, _SOCKETPAIR, _CLONE, _CLONE3, _TRUNCATE = (41, 198), (53, 199), (56, 220), (435, 435), (76, 45)


_LIBC = ctypes.CDLL(None, use_errno=True)


class JailError(Exception):
    """Why this process can't be confined."""


def landlock_abi() -> int:
    """Landlock's ABI version in the running kernel; 0 when there is none or it is switched off."""
    if sys.platform != "linux":
        return 0
    version: int = _LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(version, 0)


def seccomp_supported() -> bool:
    """Whether we have a filter for this machine and the kernel takes filters."""
    return os.uname().machine in _AUDIT_ARCH and os.path.exists("/proc/sys/kernel/seccomp")  # noqa: PTH110 - light


def confine(write: list[str], protect: list[str], hide: list[str]) -> None:
    """Give up rights, for good: this process and all that descend from it. Raises JailError or OSError."""
    abi = landlock_abi()
    if abi < 1:
        raise JailError("this kernel has no Landlock")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_PDEATHSIG, 9)
    _drop_capabilities()
    _limit_resources()
    _restrict_files(abi, write, protect, hide)
    _restrict_calls(abi)


def cover(root: str, excluded: list[str]) -> list[str]:
    """Fewest existing paths that together hold all of `root` but nothing of `excluded`.

    A directory on the way to an excluded path is not itself in the result, only its other entries are.
    """
    inside = [path for path in excluded if path == root or path.startswith(root.rstrip("/") + "/")]
    if root in inside:
        return []
    if not inside:
        return [root]
    try:
        names = sorted(os.listdir(root))  # noqa: PTH208 - pathlib takes longer to import than all of this
    except OSError:
        return []
    return [path for name in names for path in cover(root.rstrip("/") + "/" + name, inside)]


def _restrict_files(abi: int, write: list[str], protect: list[str], hide: list[str]) -> None:
    changes = _CHANGES | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0)
    device = WRITE_FILE | (TRUNCATE if abi >= 3 else 0) | (IOCTL_DEV if abi >= 5 else 0)
    handled = changes | device | READ_FILE | _DEVICE_NODES
    attributes = struct.pack("=Q", handled)
    attributes += struct.pack("=Q", _BIND_AND_CONNECT_TCP) if abi >= 4 else b""
    attributes += struct.pack("=Q", _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS) if abi >= 6 else b""
    ruleset = _check(_LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    for place in _DEVICES:
        for path in cover(place, protect + hide):
            _allow(ruleset, path, READ_FILE | device | (changes if place == _SHARED_MEMORY else 0))
    for root in write:
        for path in cover(root, protect + hide):
            _allow(ruleset, path, changes | device | READ_FILE)
    for path in cover("/", [*hide, _ALL_DEVICES]):
        _allow(ruleset, path, READ_FILE)
    _check(_LIBC.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)))
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    """Grant `rights` beneath `path`. A link gets none: it would hand the rights to what it points at."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EACCES, errno.ENXIO):
            return  # gone or unreachable: nothing is granted
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        granted = rights if stat.S_ISDIR(mode) else rights & _FILE_RIGHTS
        if not stat.S_ISLNK(mode) and granted:
            rule = struct.pack("=Qi", granted, descriptor)
            _check(_LIBC.syscall(_ADD_RULE, ruleset, ctypes.c_int(1), rule, ctypes.c_uint32(0)))
    finally:
        os.close(descriptor)


def _restrict_calls(abi: int) -> None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _filter(abi))
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    if _LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0) != 0:
        raise JailError(f"seccomp: {os.strerror(ctypes.get_errno())}")


def _filter(abi: int) -> list[tuple[int, int, int, int]]:
    """BPF over struct seccomp_data: (code, jump if true, jump if false, operand)."""
    machine = os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise JailError(f"no seccomp filter for {machine}")
    column = list(_AUDIT_ARCH).index(machine)
    lines = [(_LOAD, 0, 0, _OFFSET_ARCH), (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, _RET_KILL)]
    lines.append((_LOAD, 0, 0, _OFFSET_NUMBER))
    if machine == "x86_64":  # the x32 ABI has other numbers for the same calls
        lines += [(_JUMP_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _RET_KILL)]
    denied = {numbers[column]: errno.EPERM for numbers in _DENIED_CALLS.values()}
    denied[_SOCKET[column]] = errno.EACCES
    denied[_CLONE3[column]] = errno.ENOSYS  # its flags lie in memory; the C library falls back to clone
    if abi < 3:
        denied[_TRUNCATE[column]] = errno.EACCES  # Landlock can't tell one file from another here
    for number, error in denied.items():
        lines += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _RET_ERRNO | error)]
    lines += [  # no new namespaces
        (_JUMP_EQUAL, 0, 3, _CLONE[column]),
        (_LOAD, 0, 0, _OFFSET_ARGUMENTS),
        (_JUMP_SET, 0, 1, _NEW_NAMESPACES),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
        (_LOAD, 0, 0, _OFFSET_NUMBER),
    ]
    lines += [  # a datagram pair could be pointed at any socket of the machine; a stream pair can't
        (_JUMP_EQUAL, 0, 4, _SOCKETPAIR[column]),
        (_LOAD, 0, 0, _OFFSET_ARGUMENTS + 8),
        (_AND, 0, 0, _SOCK_TYPE_MASK),
        (_JUMP_EQUAL, 0, 1, _SOCK_DGRAM),
        (_RETURN, 0, 0, _RET_ERRNO | errno.EACCES),
    ]
    return [*lines, (_RETURN, 0, 0, _RET_ALLOW)]


def _limit_resources() -> None:
    """No core dumps, no file over 4 GiB, no fork bomb, and first in line when memory runs out."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 4 << 30)
    _lower(resource.RLIMIT_NPROC, _num_tasks() + 2048)  # the limit counts all tasks of the user
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("1000")
    except OSError:
        pass


def _drop_capabilities() -> None:
    """What root must not keep across the exec, such as reading other processes; anyone else has none to drop."""
    if os.geteuid() != 0:
        return
    for capability in range(_MAX_CAPABILITY + 1):
        if capability not in _KEPT_CAPABILITIES:
            _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails for numbers that the kernel doesn't know


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _num_tasks() -> int:
    with open("/proc/loadavg") as file:  # noqa: PTH123
        return int(file.read().split()[3].split("/")[1])


def _check(result: int) -> int:
    if result < 0:
        raise JailError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        raise JailError(f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _parse(arguments: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    options: dict[str, list[str]] = {"--write": [], "--protect": [], "--hide": [], "--cwd": [], "--env": []}
    end = 2 * arguments[::2].index("--")  # a value may be `--` too
    for option, value in zip(arguments[:end:2], arguments[1:end:2], strict=True):
        options[option].append(value)
    if not arguments[end + 1 :]:
        raise JailError("no program given")
    return options, arguments[end + 1 :]


def main(arguments: list[str]) -> int:
    """Confine and execute; returns an exit code only when that failed."""
    try:
        options, program = _parse(arguments)
        env = dict(variable.split("=", 1) for variable in options["--env"])
        confine(options["--write"], options["--protect"], options["--hide"])
    except Exception as error:  # whatever it is: do not start the program
        sys.stderr.write(f"{MESSAGE_PREFIX}{type(error).__name__}: {error}\n")
        return EXIT_JAIL_FAILED
    try:
        for directory in options["--cwd"]:
            os.chdir(directory)
        os.execvpe(program[0], program, env)  # noqa: S606
    except OSError as error:
        culprit = error.filename if error.filename in options["--cwd"] else program[0]
        sys.stderr.write(f"{culprit}: {error.strerror}\n")
        return EXIT_NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
