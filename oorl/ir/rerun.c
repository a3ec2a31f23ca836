// A process for one run of a program, with the C library's own streams, heap and exit. Compiled by rerun.py.
// In C, for a process forked from Python that runs Python touches, and so copies, a thousand pages.
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_BYTES = 1 << 15 };

// Stands for exit(): without the handlers that Python and LLVM have set up.
void oorl_leave(int status) {
    fflush(NULL);
    _exit(status & 255);
}

static __attribute__((noinline)) void dirty(int fill) {
    volatile char area[STACK_BYTES];
    memset((char *)area, fill, STACK_BYTES);
}

// Runs the program on two open files; returns as waitpid says how it ended, or -1 when there is no process for it.
int oorl_run(int (*program)(int, char **), int source, int target, int fill, long microseconds) {
    static char name[] = "program";
    static char *words[] = {name, NULL};
    struct itimerval timer = {{0, 0}, {microseconds / 1000000, microseconds % 1000000}};
    pid_t process = fork();
    if (process < 0)
        return -1;
    if (process == 0) {
        dup2(source, 0);
        dup2(target, 1);
        mallopt(M_PERTURB, fill);
        setitimer(ITIMER_PROF, &timer, NULL);
        dirty(fill);
        oorl_leave(program(1, words));
    }
    int status = -1;
    waitpid(process, &status, 0);
    return status;
}
