"""The launcher where ``oorl-jail`` is not built: same command line and report, limits and an own user, no namespaces.

Run as a script with ``python -I -S``; imports nothing of the package: starting it costs an interpreter and no more.
It is also the tests' second opinion on the native launcher.
"""

import ctypes
import json
import math
import os
import resource
import select
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
SAMPLE_S = 0.02
WALL_STRETCH = 4
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGESIZE") / 2**20
LIBC = ctypes.CDLL(None, use_errno=True)
NUMBERS = (
    "cpu_s",
    "wall_s",
    "memory_mb",
    "address_space_mb",
    "data_mb",
    "stack_mb",
    "file_mb",
    "processes",
    "open_files",
)
INTEGERS = ("uid", "gid", "status_fd")
WORDS = ("chdir",)
RLIMITS = (
    (resource.RLIMIT_AS, "address_space_mb", 2**20),
    (resource.RLIMIT_DATA, "data_mb", 2**20),
    (resource.RLIMIT_STACK, "stack_mb", 2**20),
    (resource.RLIMIT_FSIZE, "file_mb", 2**20),
    (resource.RLIMIT_NPROC, "processes", 1),
    (resource.RLIMIT_NOFILE, "open_files", 1),
)


def parse(words):
    """The command line as a dict; exits with status 2 and one sentence when it is wrong."""
    options = {name: 0 for name in NUMBERS + INTEGERS} | {"status_fd": 2, "chdir": "", "env": {}, "argv": []}
    index = 0
    while index < len(words) and words[index] != "--":
        name = words[index].removeprefix("--").replace("-", "_")
        value = words[index + 1] if index + 1 < len(words) else None
        if value is None or name not in (*NUMBERS, *INTEGERS, *WORDS, "env"):
            sys.exit(f"python launcher: {words[index]!r} is no option, or lacks its value")
        if name == "env":
            key, _, text = value.partition("=")
            options["env"][key] = text
        else:
            options[name] = float(value) if name in NUMBERS else int(value) if name in INTEGERS else value
        index += 2
    options["argv"] = words[index + 1 :]
    if not options["argv"]:
        sys.exit("python launcher: no program given")
    return options


def become_program(options, error_fd):
    """In the child: limits, privileges, exec. Reports a failure through ``error_fd``."""
    step = "setsid"
    try:
        os.setsid()
        if options["uid"]:
            step = "drop to the job's user"
            os.setgroups([])
            os.setresgid(*[options["gid"]] * 3)
            os.setresuid(*[options["uid"]] * 3)
        step = "setrlimit"
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if options["cpu_s"]:
            whole = math.ceil(options["cpu_s"]) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))
        for kind, name, unit in RLIMITS:
            # The kernel counts a user's processes all over the machine: only a user of the job's own can be limited so.
            if options[name] and (kind != resource.RLIMIT_NPROC or options["uid"]):
                resource.setrlimit(kind, (int(options[name]) * unit,) * 2)
        step = "no_new_privs"
        if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        step = "chdir"
        if options["chdir"]:
            os.chdir(options["chdir"])
        os.umask(0o077)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        step = options["argv"][0]
        os.set_inheritable(error_fd, False)
        os.closerange(3, error_fd)
        os.closerange(error_fd + 1, 4096)
        os.execve(options["argv"][0], options["argv"], options["env"])
    except (OSError, ValueError) as err:
        os.write(error_fd, f"{step}: {getattr(err, 'strerror', None) or err}".encode())
    os._exit(127)


def children(pid):
    found = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as handle:
                found += [int(child) for child in handle.read().split()]
    except OSError:
        pass
    return found


def descendants(pid):
    found = children(pid)
    for child in found:  # grows while it is walked
        found += children(child)
    return found


def sample():
    """(CPU seconds, resident megabytes, tasks) of everything below this process, with what it reaped."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, rss, tasks = usage.ru_utime + usage.ru_stime, 0.0, 0
    for pid in descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/stat") as handle:
                fields = handle.read().rpartition(")")[2].split()
        except OSError:
            continue
        cpu += sum(int(ticks) for ticks in fields[11:15]) * TICK_S
        tasks += int(fields[17])
        rss += int(fields[21]) * PAGE_MB
    return cpu, rss, tasks


def wall_passed(limit_s, elapsed_s):
    """On a busy machine the clock stands still while the program waits for a core, but not for ever."""
    if elapsed_s <= limit_s:
        return False
    waited = 0.0
    for pid in descendants(os.getpid()):
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as handle:
                    waited = max(waited, int(handle.read().split()[1]) * 1e-9)
        except OSError:
            pass
    return elapsed_s > WALL_STRETCH * limit_s or elapsed_s - waited > limit_s


def kill_everything(uid):
    """SIGKILL and reap all descendants; as root all processes of the job's user, so that none can fork its way out."""
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        if uid and os.getuid() == 0:
            helper = os.fork()
            if helper == 0:
                try:
                    os.setresuid(uid, uid, uid)
                    if os.getuid() == uid:
                        os.kill(-1, signal.SIGKILL)
                finally:
                    os._exit(0)
            os.waitpid(helper, 0)
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.0005)


def watch(options, program):
    """Until the program ends or a limit is passed: (wait status, reason, peak CPU, peak memory)."""
    start, peak_cpu, peak_rss = time.monotonic(), 0.0, 0.0
    reader_gone = select.poll()
    reader_gone.register(options["status_fd"], 0)
    while True:
        signalled = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}, SAMPLE_S)
        cpu, rss, tasks = sample()
        peak_cpu, peak_rss = max(peak_cpu, cpu), max(peak_rss, rss)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid == program:
                return status, "", peak_cpu, peak_rss
            if pid == 0:
                break
        passed = (
            ("asked", signalled is not None and signalled.si_signo != signal.SIGCHLD),
            ("abandoned", bool(reader_gone.poll(0))),
            ("cpu", 0 < options["cpu_s"] < cpu),
            ("memory", 0 < options["memory_mb"] < rss),
            ("processes", 0 < options["processes"] <= tasks),
            ("wall", options["wall_s"] > 0 and wall_passed(options["wall_s"], time.monotonic() - start)),
        )
        for reason, true in passed:
            if true:
                return int(signal.SIGKILL), reason, peak_cpu, peak_rss


def main():
    if sys.argv[1:] == ["--probe"]:
        tree = os.access("/proc/thread-self/children", os.R_OK)
        root = os.geteuid() == 0
        facts = {"root": root, "own_user": root, "namespaces": False, "user_namespace": False, "process_tree": tree}
        print(json.dumps(facts))
        return 0
    options = parse(sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    error_read, error_write = os.pipe()
    start = time.monotonic()
    program = os.fork()
    if program == 0:
        os.close(error_read)
        become_program(options, error_write)
    os.close(error_write)
    # Only the program may hold the job's pipes: their closing tells the supervisor that it is gone.
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in {0, 1, 2} - {options["status_fd"]}:
        os.dup2(null, descriptor)
    status, killed, peak_cpu, peak_rss = watch(options, program)
    kill_everything(options["uid"])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = {
        "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
        "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "killed": killed,
        "cpu_s": max(usage.ru_utime + usage.ru_stime, peak_cpu),
        "wall_s": time.monotonic() - start,
        "peak_mb": max(usage.ru_maxrss / 1024, peak_rss),
        "error": os.read(error_read, 4096).decode(errors="replace"),
    }
    try:
        os.write(options["status_fd"], json.dumps(report).encode() + b"\n")
    except BrokenPipeError:
        return 1  # nobody is left to read it
    return 1 if report["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
