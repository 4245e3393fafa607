internal import CStratoLinux
internal import Glibc
package import StratoHost

/// What each kind of thread may ask of the kernel once the machine is built.
///
/// Nothing here makes a socket, a ring or a process, runs a program, maps memory to be executed, or opens a file that is not
/// there. Rings are made, and files and sockets opened, before; what a filter forbids was done by then.
package enum ThreadFilters {
    /// A virtual CPU's thread: it runs the guest and serves what that leaves KVM for; 25 calls at most.
    package static func processor() -> SystemCallFilter {
        var filter = SystemCallFilter(for: .processor)
        filter.allow(SYS_ioctl, argument: 1, isOneOf: processorRequests + terminalRequests)
        filter.allow(SYS_write)
        filter.allow(SYS_read)
        allowSynchronization(&filter)
        // Output of a serial port; what does not go at once is left to the main thread.
        filter.allow(SYS_sendto)
        filter.allow(SystemCallNumbers.poll)
        filter.allow(SYS_epoll_ctl)
        // Kicks: the own ones are taken, others' threads are sent theirs.
        filter.allow(SYS_rt_sigtimedwait)
        filter.allow(SYS_tgkill, argument: 0, isOneOf: [UInt32(bitPattern: getpid())])
        // Interrupt vectors, which a driver makes and gives up.
        filter.allow(SYS_eventfd2)
        filter.allow(SYS_close)
        // Firmware's flash and files that a guest reads by fw_cfg.
        filter.allow(SYS_preadv)
        filter.allow(SYS_pwritev)
        allowMemory(&filter)
        allowThread(&filter)
        // An image's last user unlocks it; where it may not, closing the image does.
        filter.refuse(SYS_fcntl, with: EPERM)
        refuseHostSettings(&filter)
        // A transfer that comes back half done is left to the threads that there are.
        filter.refuse(SYS_clone, with: EAGAIN)
        filter.refuse(SYS_clone3, with: ENOSYS)
        return filter
    }

    /// A thread that serves devices, carries out disk requests, or writes output that has to be waited for; 30 calls at most.
    package static func inputOutput() -> SystemCallFilter {
        var filter = SystemCallFilter(for: .inputOutput)
        filter.allow(SystemCallNumbers.waitForEvents)
        filter.allow(SYS_io_uring_enter)
        filter.allow(SYS_read)
        filter.allow(SYS_write)
        filter.allow(SYS_preadv)
        filter.allow(SYS_pwritev)
        allowSynchronization(&filter)
        filter.allow(SYS_io_submit)
        filter.allow(SYS_fdatasync)
        filter.allow(SYS_fallocate)
        filter.allow(SYS_ftruncate)
        filter.allow(SYS_ioctl, argument: 1, isOneOf: blockRequests + terminalRequests)
        filter.allow(SYS_epoll_ctl)
        filter.allow(SystemCallNumbers.poll)
        filter.allow(SYS_close)
        allowMemory(&filter)
        allowThread(&filter)
        // Threads for disk requests, started as there is work for them.
        filter.allow(SYS_clone, argument: 0, isOneOf: [CSL_CLONE_THREAD.rawValue])
        filter.allow(SYS_rseq)
        // Its own, by number 0, and no other thread's.
        filter.allow(SYS_sched_setscheduler, argument: 1, isOneOf: schedulingPolicies, withZero: 0)
        filter.allow(SYS_prctl, argument: 0, isOneOf: [UInt32(PR_SET_NAME)])
        // An image's last user unlocks it; where it may not, closing the image does.
        filter.refuse(SYS_fcntl, with: EPERM)
        refuseHostSettings(&filter)
        // The C library asks for robust mutexes in every thread, and has none.
        filter.refuse(SYS_set_robust_list, with: ENOSYS)
        // Its flags are in memory, where a filter does not see them; the C library then takes clone.
        filter.refuse(SYS_clone3, with: ENOSYS)
        return filter
    }

    /// The thread that serves clients, character devices and signals, resets the machine and ends it; 45 calls at most.
    package static func main() -> SystemCallFilter {
        var filter = SystemCallFilter(for: .main)
        filter.allow(SystemCallNumbers.waitForEvents)
        filter.allow(SYS_read)
        filter.allow(SYS_write)
        filter.allow(SYS_recvfrom)
        filter.allow(SYS_sendto)
        allowSynchronization(&filter)
        filter.allow(SYS_epoll_ctl)
        filter.allow(SystemCallNumbers.poll)
        filter.allow(SYS_ioctl, argument: 1, isOneOf: machineRequests + terminalRequests)
        // Clients that come and go.
        filter.allow(SYS_accept4)
        filter.allow(SYS_setsockopt, argument: 1, isOneOf: [UInt32(IPPROTO_TCP)])
        filter.allow(SYS_fcntl, argument: 1, isOneOf: [UInt32(F_DUPFD_CLOEXEC), UInt32(F_GETFL), UInt32(F_GETFD), unlocking])
        filter.allow(SYS_eventfd2)
        filter.allow(SYS_close)
        // Paths of sockets and of the pid file go with the process. Whether a path is there also explains a failure of KVM.
        filter.allow(SystemCallNumbers.status)
        // Which of the two the C library takes for an open file depends on its version.
        filter.allow(SYS_fstat)
        filter.allow(SYS_unlinkat)
        // A reset loads what is booted once more; a pause and the end write disks and flash out.
        filter.allow(SYS_preadv)
        filter.allow(SYS_pwritev)
        filter.allow(SYS_fdatasync)
        filter.allow(SYS_io_destroy)
        for call in resetCalls { filter.allow(call) }
        // Kicks of virtual CPUs, and signals of a terminal that has gone.
        filter.allow(SYS_tgkill, argument: 0, isOneOf: [UInt32(bitPattern: getpid())])
        filter.allow(SYS_getpid)
        filter.allow(SystemCallNumbers.processGroup)
        filter.allow(SYS_rt_sigtimedwait)
        allowMemory(&filter)
        allowThread(&filter)
        filter.allow(SYS_exit_group)
        filter.refuse(SYS_clone, with: EAGAIN)
        filter.refuse(SYS_clone3, with: ENOSYS)
        return filter
    }

    // MARK: What every thread needs

    private static func allowSynchronization(_ filter: inout SystemCallFilter) {
        filter.allow(SYS_futex)
        // Made by the C library without the kernel where the host's clock permits.
        filter.allow(SYS_clock_gettime)
        // Goes on with a wait after the process was stopped.
        filter.allow(SYS_restart_syscall)
    }

    /// What the C library's heap takes and gives back: never to be executed.
    private static func allowMemory(_ filter: inout SystemCallFilter) {
        filter.allow(SYS_mmap, argument: 2, hasOnly: UInt32(PROT_READ | PROT_WRITE))
        filter.allow(SYS_mprotect, argument: 2, hasOnly: UInt32(PROT_READ | PROT_WRITE))
        filter.allow(SYS_munmap)
        filter.allow(SYS_madvise, argument: 2, isOneOf: [UInt32(MADV_DONTNEED)])
        filter.allow(SYS_brk)
        // Makes a large block larger, which then is copied instead.
        filter.refuse(SYS_mremap, with: ENOMEM)
    }

    /// A heap of several arenas, which a program has that does without `M_ARENA_MAX`, looks into /proc and /sys for how the
    /// host commits memory and how many processors it has, and goes by the usual where it can't.
    private static func refuseHostSettings(_ filter: inout SystemCallFilter) {
        filter.refuse(SYS_openat, with: EACCES)
        filter.refuse(SYS_sched_getaffinity, with: EPERM)
    }

    private static func allowThread(_ filter: inout SystemCallFilter) {
        // Stands in lines of the log.
        filter.allow(SYS_gettid)
        filter.allow(SYS_rt_sigprocmask)
        // A disk that comes later is served by threads: a ring of its own would be one that nobody has restricted.
        filter.refuse(SYS_io_uring_setup, with: EPERM)
        filter.refuse(SYS_io_setup, with: EPERM)
        // A fatal signal's handler puts the terminal in order, then lets the fault come again.
        filter.allow(SYS_rt_sigreturn)
        filter.allow(SYS_exit)
    }

    /// A terminal's settings and who is in its foreground: every thread can be the one that a fatal signal comes to.
    private static var terminalRequests: [UInt32] { [UInt32(TIOCGPGRP), UInt32(TCGETS), UInt32(TCSETS)] }

    /// Of the lock of an open file, which it can also take.
    private static var unlocking: UInt32 { UInt32(CSL_OFD_SETLK.rawValue) }

    private static var schedulingPolicies: [UInt32] {
        [CSL_SCHED_USUAL.rawValue, CSL_SCHED_LATE.rawValue]
    }

    private static var blockRequests: [UInt32] {
        [
            UInt32(truncatingIfNeeded: CSL_BLKSSZGET.rawValue), UInt32(truncatingIfNeeded: CSL_BLKDISCARD.rawValue),
            UInt32(truncatingIfNeeded: CSL_BLKZEROOUT.rawValue),
        ]
    }

    /// What devices change of a virtual machine while it runs.
    static var deviceRequests: [UInt32] {
        [
            number(CSL_KVM_IRQ_LINE), number(CSL_KVM_IRQFD), number(CSL_KVM_IOEVENTFD), number(CSL_KVM_SET_GSI_ROUTING),
            number(CSL_KVM_SET_USER_MEMORY_REGION),
        ]
    }

    /// What the thread of a virtual CPU asks of KVM.
    private static var processorRequests: [UInt32] {
        [number(CSL_KVM_RUN)] + deviceRequests + registerRequests
    }

    /// What resets a machine.
    private static var machineRequests: [UInt32] {
        [
            number(CSL_KVM_CHECK_EXTENSION), number(CSL_KVM_GET_MP_STATE), number(CSL_KVM_SET_MP_STATE),
            number(CSL_KVM_GET_VCPU_EVENTS), number(CSL_KVM_SET_VCPU_EVENTS),
        ] + deviceRequests + registerRequests + stateRequests
    }

    /// A request as the kernel sees it, 32 bits of what `ioctl` is given.
    static func number(_ request: csl_kvm_request) -> UInt32 { UInt32(truncatingIfNeeded: request.rawValue) }
}
