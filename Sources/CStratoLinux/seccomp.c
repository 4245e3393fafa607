// The registers of a signal's context are named for it only; the headers that Swift reads do without.
#define _GNU_SOURCE
#include "seccomp.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "process.h"

static const char *name_at(const char *names, int position) {
    while (position-- > 0) {
        names += strlen(names) + 1;
    }
    return names;
}

const char *csl_call_name(int number) {
    if (number >= 0 && number < csl_first_call_count) {
        return name_at(csl_first_call_names, number);
    }
    if (number >= csl_later_call_start && number - csl_later_call_start < csl_later_call_count) {
        return name_at(csl_later_call_names, number - csl_later_call_start);
    }
    return "";
}

// A line that is made in a signal handler, where the C library's own ways are not safe.

// si_code of a call that a filter refused: in the headers of the kernel alone, which collide with the C library's.
enum { REFUSED_BY_FILTER = 1 };

struct line {
    size_t length;
    char text[256];
};

static void add(struct line *line, const char *text) {
    while (*text != 0 && line->length < sizeof line->text) {
        line->text[line->length++] = *text++;
    }
}

static void add_number(struct line *line, uint64_t value, unsigned base) {
    char digits[21];
    size_t position = sizeof digits - 1;
    digits[position] = 0;
    do {
        digits[--position] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    add(line, digits + position);
}

static const char *kind_name(int kind) {
    switch (kind) {
    case CSL_THREAD_MAIN: return "the main thread";
    case CSL_THREAD_PROCESSOR: return "a vCPU thread";
    case CSL_THREAD_IO: return "an I/O thread";
    default: return "a thread";
    }
}

#if defined(__x86_64__)
static uint64_t call_argument(const ucontext_t *context, int position) {
    static const int registers[] = {REG_RDI, REG_RSI, REG_RDX};
    return (uint64_t)context->uc_mcontext.gregs[registers[position]];
}
#elif defined(__aarch64__)
static uint64_t call_argument(const ucontext_t *context, int position) { return context->uc_mcontext.regs[position]; }
#endif

static int log_descriptor = -1;

static void tell(const struct line *line, int descriptor) {
    // There is nobody left to tell that this failed.
    ssize_t ignored = write(descriptor, line->text, line->length);
    (void)ignored;
}

static void call_refused(int number, siginfo_t *info, void *context) {
    // Another process can send the signal as well: then there is nothing to tell.
    if (info->si_code == REFUSED_BY_FILTER) {
        struct line line = {0};
        const char *name = csl_call_name(info->si_syscall);
        add(&line, "stratovirt: the system call ");
        add(&line, *name == 0 ? "without a name" : name);
        add(&line, " (");
        add_number(&line, (uint32_t)info->si_syscall, 10);
        add(&line, ") with 0x");
        add_number(&line, call_argument(context, 0), 16);
        add(&line, ", 0x");
        add_number(&line, call_argument(context, 1), 16);
        add(&line, ", 0x");
        add_number(&line, call_argument(context, 2), 16);
        add(&line, " is not allowed to ");
        add(&line, kind_name(info->si_errno));
        add(&line, ": the process is ended by SIGSYS\n");
        tell(&line, STDERR_FILENO);
        if (log_descriptor >= 0) {
            tell(&line, log_descriptor);
        }
    }
    csl_restore_terminal();
    if (info->si_code != REFUSED_BY_FILTER) {
        (void)raise(number);
    }
    // No filter allows it, and SA_RESETHAND has put the default action back: the end of the process.
    (void)syscall(SYS_reboot, 0, 0, 0, 0);
}

int csl_tell_refused_calls(int log) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    log_descriptor = log;
    action.sa_sigaction = call_refused;
    action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}
