// Runs programs in turn, again and again, and prints how long each took from exec to what is waited for.
//
// measure greeting ROUNDS SOCKET COMMAND... [-- COMMAND...]...   until a client of SOCKET has read a first line
// measure byte ROUNDS COMMAND... [-- COMMAND...]...              until the first byte on standard output; then it is killed
// measure guest ROUNDS COMMAND... [-- COMMAND...]...             until that byte, and until the end
//
// One line per program and figure: name, figure, then minimum, median and 90th percentile in microseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PROGRAMS = 8, MAX_ROUNDS = 10000, FIRST = 0, END, CPU, FIGURES, LIMIT_SECONDS = 10 };

static const char *const figure_names[FIGURES] = {"first", "end", "cpu"};

struct program {
    char **arguments;
    int64_t *samples[FIGURES];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static pid_t start(char **arguments, int output) {
    pid_t child = vfork();
    if (child < 0) {
        fail("vfork");
    }
    if (child == 0) {
        if (output >= 0) {
            dup2(output, STDOUT_FILENO);
        }
        execv(arguments[0], arguments);
        _exit(127);
    }
    return child;
}

static int64_t processor_time(const struct rusage *usage) {
    return ((int64_t)usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000000 +
           ((int64_t)usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) * 1000;
}

static int64_t await_greeting(const char *path, int64_t begin) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[1024];
    if (client < 0) {
        fail("socket");
    }
    while (connect(client, (struct sockaddr *)&address, sizeof address) < 0) {
        struct timespec pause = {.tv_nsec = 20000};
        if ((errno != ENOENT && errno != ECONNREFUSED) || now() - begin > LIMIT_SECONDS * 1000000000ll) {
            fail(path);
        }
        nanosleep(&pause, NULL);
    }
    ssize_t length = read(client, text, sizeof text);
    int64_t end = now();
    if (length <= 0 || memmem(text, (size_t)length, "QMP", 3) == NULL) {
        fprintf(stderr, "no greeting\n");
        exit(1);
    }
    close(client);
    return end;
}

static void measure_greeting(struct program *program, int round, const char *path) {
    struct rusage usage;
    int status;
    unlink(path);
    int64_t begin = now();
    pid_t child = start(program->arguments, -1);
    int64_t end = await_greeting(path, begin);
    program->samples[FIRST][round] = end - begin;
    kill(child, SIGKILL);
    if (wait4(child, &status, 0, &usage) != child) {
        fail("wait4");
    }
}

static void measure_guest(struct program *program, int round, bool is_killed) {
    struct rusage usage;
    int ends[2], status;
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        fail("pipe2");
    }
    int64_t begin = now();
    pid_t child = start(program->arguments, ends[1]);
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1) {
        fprintf(stderr, "%s: no byte from the guest\n", program->arguments[0]);
        exit(1);
    }
    program->samples[FIRST][round] = now() - begin;
    if (is_killed) {
        kill(child, SIGKILL);
    }
    if (wait4(child, &status, 0, &usage) != child) {
        fail("wait4");
    }
    program->samples[END][round] = now() - begin;
    program->samples[CPU][round] = processor_time(&usage);
    close(ends[0]);
    if (!is_killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        fprintf(stderr, "%s: status %d\n", program->arguments[0], status);
        exit(1);
    }
}

static int compare(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void report(struct program *program, int figure, int rounds) {
    int64_t *samples = program->samples[figure];
    const char *name = strrchr(program->arguments[0], '/');
    qsort(samples, (size_t)rounds, sizeof *samples, compare);
    printf("%s %s %.0f %.0f %.0f\n", name ? name + 1 : program->arguments[0], figure_names[figure], samples[0] / 1e3,
           samples[rounds / 2] / 1e3, samples[rounds * 9 / 10] / 1e3);
}

int main(int argc, char **argv) {
    static struct program programs[MAX_PROGRAMS];
    int count = 0, position = 3, rounds = argc > 3 ? atoi(argv[2]) : 0;
    const char *socket_path = NULL;
    bool is_killed = argc > 1 && strcmp(argv[1], "byte") == 0;
    if (rounds < 1 || rounds > MAX_ROUNDS ||
        (!is_killed && strcmp(argv[1], "greeting") != 0 && strcmp(argv[1], "guest") != 0)) {
        fprintf(stderr, "usage: measure greeting ROUNDS SOCKET COMMAND... | measure byte|guest ROUNDS COMMAND... [-- COMMAND...]\n");
        return 2;
    }
    if (strcmp(argv[1], "greeting") == 0) {
        socket_path = argv[position++];
    }
    while (position < argc && count < MAX_PROGRAMS) {
        struct program *program = &programs[count++];
        program->arguments = &argv[position];
        for (int figure = 0; figure < FIGURES; figure++) {
            program->samples[figure] = calloc((size_t)rounds, sizeof **program->samples);
            if (program->samples[figure] == NULL) {
                fail("calloc");
            }
        }
        while (position < argc && strcmp(argv[position], "--") != 0) {
            position++;
        }
        if (position < argc) {
            argv[position++] = NULL;
        }
    }
    // The least that sleeps are prolonged by, so that a connection is tried as often as is said.
    prctl(PR_SET_TIMERSLACK, 1000);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) {
            if (socket_path != NULL) {
                measure_greeting(&programs[i], round, socket_path);
            } else {
                measure_guest(&programs[i], round, is_killed);
            }
        }
    }
    for (int i = 0; i < count; i++) {
        for (int figure = 0; figure < (socket_path != NULL ? 1 : FIGURES); figure++) {
            report(&programs[i], figure, rounds);
        }
    }
    if (socket_path != NULL) {
        unlink(socket_path);
    }
    return 0;
}
