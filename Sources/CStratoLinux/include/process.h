// Shims for what belongs to a whole process: only an executable calls these, never a library.
#ifndef CSTRATOLINUX_PROCESS_H
#define CSTRATOLINUX_PROCESS_H

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/// Keeps the C library from giving each thread a heap of its own, which is faster for threads that allocate all the time,
/// as none here do, and costs memory and time for each thread. To be called before there is a second thread.
void csl_share_heap(void);

/// Puts /dev/null in the place of standard input, output and error where they are closed, so that no other file becomes
/// them. Returns 0 or a negative errno.
int csl_complete_standard_descriptors(void);

/// Goes on in a process of its own session, while the caller's process waits for csl_daemon_started and then ends: with 0
/// if that came, with 1 if the daemon ended before. To be called while there is one thread.
///
/// Returns the handshake descriptor in the daemon, a negative errno in the caller if there could be none.
int csl_daemonize(void);

/// Lets the process that waits end with 0, and puts /dev/null in the place of standard input, output and error.
int csl_daemon_started(int handshake);

/// Remembers the settings of the terminal on standard input, to be given back when a fatal signal ends the process.
/// Returns 1, or 0 if standard input is no terminal.
int csl_arm_terminal_guard(void);

/// Gives the remembered settings back. Async-signal-safe; does nothing unless armed.
void csl_restore_terminal(void);

/// Blocks, for this thread and those it starts later, every signal that would end the process though nothing is wrong with
/// it, and returns a descriptor that becomes readable when SIGTERM, SIGINT, SIGHUP or SIGXCPU arrives. What is not blocked:
/// signals of faults, SIGQUIT, which asks for a core dump, and those by which a terminal's jobs are stopped.
int csl_termination_descriptor(void);

/// The number of the next signal.
static inline int csl_next_signal(int fd) {
    struct signalfd_siginfo info;
    ssize_t length = read(fd, &info, sizeof info);
    if (length < 0) {
        return -errno;
    }
    return length == (ssize_t)sizeof info ? (int)info.ssi_signo : -EIO;
}

/// Makes a file for this process's number, or takes one over that a process has left behind: one with a number alone in it that
/// no process has, or with nothing. It is empty, and locked for as long as the descriptor that is returned is open. Answers -EBUSY
/// if another process has it locked, -EEXIST for anything else that stands there.
int csl_open_pid_file(const char *_Nonnull path);

/// Removes the name of an open file, unless another file has it by now. Returns 0, also if it is gone, or a negative errno.
int csl_remove_open_file(const char *_Nonnull path, int fd);

/// Gives the pages of those segments back to the page cache that are only read; what lies between them is left alone.
/// `base` is what the addresses of the program headers are relative to.
void csl_release_read_only_segments(uintptr_t base, const ElfW(Phdr) *_Nullable segments, size_t count);

/// Gives the pages of this program's code back to the page cache, and those of the heap that hold nothing and of the calling
/// thread's stack below its present end to the system. What runs from now on is mapped again as it is used; what only the start needed is not.
void csl_release_start_memory(void);
/// Gives back the part of a thread's stack that the C library keeps when the thread ends, which may be long before anybody waits
/// for it. For the last call of a thread, near the top of its stack, which is several times as large.
void csl_release_thread_stack(void);

#endif
