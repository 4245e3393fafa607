// The names of aarch64's system calls, in the order of their numbers (asm/unistd.h), each ended by a zero. One string for all has
// no pointers in it, which a position-independent program would have to write to at its start.
#if defined(__aarch64__)
#include "seccomp.h"

const char csl_first_call_names[] =
    "io_setup\0io_destroy\0io_submit\0io_cancel\0io_getevents\0setxattr\0lsetxattr\0fsetxattr\0getxattr\0"
    "lgetxattr\0fgetxattr\0listxattr\0llistxattr\0flistxattr\0removexattr\0lremovexattr\0fremovexattr\0getcwd\0"
    "lookup_dcookie\0eventfd2\0epoll_create1\0epoll_ctl\0epoll_pwait\0dup\0dup3\0fcntl\0inotify_init1\0"
    "inotify_add_watch\0inotify_rm_watch\0ioctl\0ioprio_set\0ioprio_get\0flock\0mknodat\0mkdirat\0unlinkat\0"
    "symlinkat\0linkat\0renameat\0umount2\0mount\0pivot_root\0nfsservctl\0statfs\0fstatfs\0truncate\0"
    "ftruncate\0fallocate\0faccessat\0chdir\0fchdir\0chroot\0fchmod\0fchmodat\0fchownat\0fchown\0openat\0"
    "close\0vhangup\0pipe2\0quotactl\0getdents64\0lseek\0read\0write\0readv\0writev\0pread64\0pwrite64\0"
    "preadv\0pwritev\0sendfile\0pselect6\0ppoll\0signalfd4\0vmsplice\0splice\0tee\0readlinkat\0newfstatat\0"
    "fstat\0sync\0fsync\0fdatasync\0sync_file_range\0timerfd_create\0timerfd_settime\0timerfd_gettime\0"
    "utimensat\0acct\0capget\0capset\0personality\0exit\0exit_group\0waitid\0set_tid_address\0unshare\0futex\0"
    "set_robust_list\0get_robust_list\0nanosleep\0getitimer\0setitimer\0kexec_load\0init_module\0"
    "delete_module\0timer_create\0timer_gettime\0timer_getoverrun\0timer_settime\0timer_delete\0clock_settime\0"
    "clock_gettime\0clock_getres\0clock_nanosleep\0syslog\0ptrace\0sched_setparam\0sched_setscheduler\0"
    "sched_getscheduler\0sched_getparam\0sched_setaffinity\0sched_getaffinity\0sched_yield\0"
    "sched_get_priority_max\0sched_get_priority_min\0sched_rr_get_interval\0restart_syscall\0kill\0tkill\0"
    "tgkill\0sigaltstack\0rt_sigsuspend\0rt_sigaction\0rt_sigprocmask\0rt_sigpending\0rt_sigtimedwait\0"
    "rt_sigqueueinfo\0rt_sigreturn\0setpriority\0getpriority\0reboot\0setregid\0setgid\0setreuid\0setuid\0"
    "setresuid\0getresuid\0setresgid\0getresgid\0setfsuid\0setfsgid\0times\0setpgid\0getpgid\0getsid\0setsid\0"
    "getgroups\0setgroups\0uname\0sethostname\0setdomainname\0getrlimit\0setrlimit\0getrusage\0umask\0prctl\0"
    "getcpu\0gettimeofday\0settimeofday\0adjtimex\0getpid\0getppid\0getuid\0geteuid\0getgid\0getegid\0gettid\0"
    "sysinfo\0mq_open\0mq_unlink\0mq_timedsend\0mq_timedreceive\0mq_notify\0mq_getsetattr\0msgget\0msgctl\0"
    "msgrcv\0msgsnd\0semget\0semctl\0semtimedop\0semop\0shmget\0shmctl\0shmat\0shmdt\0socket\0socketpair\0"
    "bind\0listen\0accept\0connect\0getsockname\0getpeername\0sendto\0recvfrom\0setsockopt\0getsockopt\0"
    "shutdown\0sendmsg\0recvmsg\0readahead\0brk\0munmap\0mremap\0add_key\0request_key\0keyctl\0clone\0execve\0"
    "mmap\0fadvise64\0swapon\0swapoff\0mprotect\0msync\0mlock\0munlock\0mlockall\0munlockall\0mincore\0"
    "madvise\0remap_file_pages\0mbind\0get_mempolicy\0set_mempolicy\0migrate_pages\0move_pages\0"
    "rt_tgsigqueueinfo\0perf_event_open\0accept4\0recvmmsg\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0wait4\0prlimit64\0"
    "fanotify_init\0fanotify_mark\0name_to_handle_at\0open_by_handle_at\0clock_adjtime\0syncfs\0setns\0"
    "sendmmsg\0process_vm_readv\0process_vm_writev\0kcmp\0finit_module\0sched_setattr\0sched_getattr\0"
    "renameat2\0seccomp\0getrandom\0memfd_create\0bpf\0execveat\0userfaultfd\0membarrier\0mlock2\0"
    "copy_file_range\0preadv2\0pwritev2\0pkey_mprotect\0pkey_alloc\0pkey_free\0statx\0io_pgetevents\0rseq\0"
    "kexec_file_load";
const int csl_first_call_count = 295;

// From here on the numbers are those of every architecture.
const char csl_later_call_names[] =
    "pidfd_send_signal\0io_uring_setup\0io_uring_enter\0io_uring_register\0open_tree\0move_mount\0fsopen\0"
    "fsconfig\0fsmount\0fspick\0pidfd_open\0clone3\0close_range\0openat2\0pidfd_getfd\0faccessat2\0"
    "process_madvise\0epoll_pwait2\0mount_setattr\0quotactl_fd\0landlock_create_ruleset\0landlock_add_rule\0"
    "landlock_restrict_self\0memfd_secret\0process_mrelease\0futex_waitv\0set_mempolicy_home_node\0cachestat\0"
    "fchmodat2\0map_shadow_stack\0futex_wake\0futex_wait\0futex_requeue\0statmount\0listmount\0"
    "lsm_get_self_attr\0lsm_set_self_attr\0lsm_list_modules\0mseal";
const int csl_later_call_start = 424;
const int csl_later_call_count = 39;
#endif
