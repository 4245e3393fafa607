import CStratoLinux
import Foundation
import StratoHost
import Synchronization
import Testing

@testable import StratoMachine

/// What a filter says of one call, written down once more: the rule, for which it has to be changed with care.
struct ExpectedCall: Sendable, CustomTestStringConvertible {
    enum Arguments: Sendable {
        case any
        /// One argument has one of these values in its low half, and another, if named, is 0 there.
        case oneOf(argument: Int, [UInt32], zero: Int? = nil)
        /// One argument has no other bits set.
        case only(argument: Int, UInt64)
        /// Answered with an error.
        case failing(Int32)
    }

    let number: Int32
    let arguments: Arguments

    init(_ number: Int32, _ arguments: Arguments = .any) {
        self.number = number
        self.arguments = arguments
    }

    var testDescription: String { String(cString: csl_call_name(number)) }
}

struct ExpectedFilter: Sendable, CustomTestStringConvertible {
    let name: String
    let make: @Sendable () -> SystemCallFilter
    let data: UInt16
    let limit: Int
    let calls: [ExpectedCall]

    var testDescription: String { name }

    /// In every filter.
    private static let common: [ExpectedCall] = [
        ExpectedCall(SYS_futex), ExpectedCall(SYS_clock_gettime), ExpectedCall(SYS_restart_syscall),
        ExpectedCall(SYS_mmap, .only(argument: 2, 3)), ExpectedCall(SYS_mprotect, .only(argument: 2, 3)),
        ExpectedCall(SYS_munmap), ExpectedCall(SYS_madvise, .oneOf(argument: 2, [4])), ExpectedCall(SYS_brk),
        ExpectedCall(SYS_gettid), ExpectedCall(SYS_rt_sigprocmask), ExpectedCall(SYS_rt_sigreturn), ExpectedCall(SYS_exit),
        ExpectedCall(SYS_read), ExpectedCall(SYS_write), ExpectedCall(SYS_close), ExpectedCall(SystemCallNumbers.poll),
        ExpectedCall(SYS_epoll_ctl), ExpectedCall(SYS_preadv), ExpectedCall(SYS_pwritev),
        ExpectedCall(SYS_clone3, .failing(ENOSYS)), ExpectedCall(SYS_io_uring_setup, .failing(EPERM)),
        ExpectedCall(SYS_io_setup, .failing(EPERM)), ExpectedCall(SYS_mremap, .failing(ENOMEM)),
    ]

    private static var ownProcess: ExpectedCall.Arguments { .oneOf(argument: 0, [UInt32(getpid())]) }

    static let all = [
        ExpectedFilter(
            name: "vCPU", make: ThreadFilters.processor, data: 2, limit: 25,
            calls: common + [
                ExpectedCall(SYS_ioctl, .oneOf(argument: 1, processorRequests + terminalRequests)),
                ExpectedCall(SYS_sendto), ExpectedCall(SYS_eventfd2), ExpectedCall(SYS_rt_sigtimedwait),
                ExpectedCall(SYS_tgkill, ownProcess), ExpectedCall(SYS_clone, .failing(EAGAIN)),
                ExpectedCall(SYS_fcntl, .failing(EPERM)),
            ] + hostSettings),
        ExpectedFilter(
            name: "I/O", make: ThreadFilters.inputOutput, data: 3, limit: 30,
            calls: common + [
                ExpectedCall(SYS_ioctl, .oneOf(argument: 1, [0x1268, 0x1277, 0x127F] + terminalRequests)),
                ExpectedCall(SystemCallNumbers.waitForEvents), ExpectedCall(SYS_io_uring_enter),
                ExpectedCall(SYS_io_submit), ExpectedCall(SYS_fdatasync), ExpectedCall(SYS_fallocate),
                ExpectedCall(SYS_ftruncate), ExpectedCall(SYS_clone, .oneOf(argument: 0, [0x3D_0F00])),
                ExpectedCall(SYS_rseq),
                ExpectedCall(SYS_sched_setscheduler, .oneOf(argument: 1, [0, 3], zero: 0)),
                ExpectedCall(SYS_prctl, .oneOf(argument: 0, [15])),
                ExpectedCall(SYS_set_robust_list, .failing(ENOSYS)), ExpectedCall(SYS_fcntl, .failing(EPERM)),
            ] + hostSettings),
        ExpectedFilter(
            name: "main", make: ThreadFilters.main, data: 1, limit: 45,
            calls: common + [
                ExpectedCall(SYS_ioctl, .oneOf(argument: 1, machineRequests + terminalRequests)),
                ExpectedCall(SystemCallNumbers.waitForEvents), ExpectedCall(SYS_recvfrom), ExpectedCall(SYS_sendto),
                ExpectedCall(SYS_accept4), ExpectedCall(SYS_setsockopt, .oneOf(argument: 1, [6])),
                ExpectedCall(SYS_fcntl, .oneOf(argument: 1, [1, 3, 37, 1030])), ExpectedCall(SYS_eventfd2),
                ExpectedCall(SystemCallNumbers.status), ExpectedCall(SYS_fstat), ExpectedCall(SYS_unlinkat),
                ExpectedCall(SYS_fdatasync),
                ExpectedCall(SYS_io_destroy), ExpectedCall(SYS_tgkill, ownProcess), ExpectedCall(SYS_getpid),
                ExpectedCall(SystemCallNumbers.processGroup), ExpectedCall(SYS_rt_sigtimedwait),
                ExpectedCall(SYS_exit_group), ExpectedCall(SYS_clone, .failing(EAGAIN)),
            ] + resetCalls.map { ExpectedCall($0) }),
    ]

    /// What the C library's heap looks for in /proc and /sys.
    private static let hostSettings = [
        ExpectedCall(SYS_openat, .failing(EACCES)), ExpectedCall(SYS_sched_getaffinity, .failing(EPERM)),
    ]

    /// TIOCGPGRP, TCGETS and TCSETS.
    private static let terminalRequests: [UInt32] = [0x540F, 0x5401, 0x5402]
}

@Suite("Filters of system calls")
struct ThreadFilterTests {
    @Test("allow no more calls than their limit, and what is expected", arguments: ExpectedFilter.all)
    func counts(_ expected: ExpectedFilter) {
        let filter = expected.make()
        #expect(filter.allowedCount <= expected.limit)
        let allowed = expected.calls.count { if case .failing = $0.arguments { false } else { true } }
        #expect(filter.allowedCount == allowed)
        #expect(filter.instructions.count <= 4096)
    }

    @Test("let each call pass with the arguments that it has, and refuse it with any others", arguments: ExpectedFilter.all)
    func rules(_ expected: ExpectedFilter) {
        let interpreter = FilterInterpreter(expected.make())
        let refused = FilterInterpreter.Answer.refused(expected.data)
        /// Other arguments have a say in nothing.
        func answer(
            _ call: ExpectedCall, _ argument: Int, _ value: UInt64, zero: Int? = nil, _ other: UInt64 = 0
        ) -> FilterInterpreter.Answer? {
            var arguments = [UInt64](repeating: 0xA5A5_5A5A_1234_8765, count: 6)
            arguments[argument] = value
            if let zero { arguments[zero] = other }
            return interpreter.answer(call.number, arguments)
        }
        for call in expected.calls {
            let name = call.testDescription
            switch call.arguments {
            case .any:
                for value in [0, 1, UInt64.max] { #expect(answer(call, 0, value) == .allowed, "\(name)") }
            case .failing(let code):
                for value in [0, 1, UInt64.max] { #expect(answer(call, 0, value) == .failed(code), "\(name)") }
            case .oneOf(let argument, let values, let zero):
                for value in values {
                    #expect(answer(call, argument, UInt64(value), zero: zero) == .allowed, "\(name) \(value)")
                    // The kernel does not look at the upper half either.
                    #expect(answer(call, argument, UInt64(value) | 1 << 63, zero: zero) == .allowed, "\(name) \(value)")
                    for bit in 0..<32 as Range<UInt32> where !values.contains(value ^ 1 << bit) {
                        let perturbed = answer(call, argument, UInt64(value ^ 1 << bit), zero: zero)
                        #expect(perturbed == refused, "\(name) \(value) bit \(bit)")
                    }
                    guard let zero else { continue }
                    for bit in 0..<32 as Range<UInt64> {
                        let perturbed = answer(call, argument, UInt64(value), zero: zero, 1 << bit)
                        #expect(perturbed == refused, "\(name) \(value) with bit \(bit) of argument \(zero)")
                    }
                }
            case .only(let argument, let bits):
                #expect(answer(call, argument, 0) == .allowed, "\(name)")
                #expect(answer(call, argument, bits) == .allowed, "\(name)")
                for bit in 0..<64 as Range<UInt64> {
                    let isAllowed = bits & 1 << bit != 0
                    #expect(answer(call, argument, 1 << bit) == (isAllowed ? .allowed : refused), "\(name) bit \(bit)")
                }
            }
        }
    }

    @Test("refuse every other number, with whatever arguments", arguments: ExpectedFilter.all)
    func others(_ expected: ExpectedFilter) {
        let interpreter = FilterInterpreter(expected.make())
        let known = Set(expected.calls.map(\.number))
        let numbers: [Int32] = Array(-1...1100) + [0x4000_0000, 0x4000_0001, .max, .min]
        for number in numbers where !known.contains(number) {
            for value in [0, 3, UInt64.max] {
                let answer = interpreter.answer(number, Array(repeating: value, count: 6))
                #expect(answer == .refused(expected.data), "\(number)")
            }
        }
    }

    @Test("end the process at the call of another architecture", arguments: ExpectedFilter.all)
    func architectures(_ expected: ExpectedFilter) {
        let interpreter = FilterInterpreter(expected.make())
        // AUDIT_ARCH_I386, AUDIT_ARCH_ARM and none.
        for architecture: UInt32 in [0x4000_0003, 0x4000_0028, 0] {
            for call in expected.calls {
                #expect(interpreter.answer(call.number, architecture: architecture) == .killed)
            }
        }
    }

    @Test("never let a thread make a socket, a program, a ring or a file", arguments: ExpectedFilter.all)
    func forbidden(_ expected: ExpectedFilter) {
        let interpreter = FilterInterpreter(expected.make())
        let numbers = [
            SYS_socket, SYS_connect, SYS_bind, SYS_execve, SYS_execveat, SYS_ptrace, SYS_io_uring_register, SYS_seccomp,
            SYS_process_vm_writev, SYS_kill, SYS_setns, SYS_unshare, SYS_mount, SYS_bpf, SYS_memfd_create,
            SYS_openat2, SYS_pkey_mprotect, SYS_personality, SYS_rt_sigaction, SYS_reboot,
        ]
        for number in numbers { #expect(interpreter.answer(number) == .refused(expected.data), "\(number)") }
        // Some threads' heaps ask for it, and are answered.
        #expect(interpreter.answer(SYS_openat) != .allowed)
    }

    @Test("know calls by their names")
    func names() {
        for (number, name) in [
            (SYS_read, "read"), (SYS_ioctl, "ioctl"), (SYS_socket, "socket"), (SYS_clone3, "clone3"), (SYS_reboot, "reboot"),
            (SYS_io_uring_setup, "io_uring_setup"), (-1, ""), (4000, ""), (.max, ""),
        ] as [(Int32, String)] {
            #expect(String(cString: csl_call_name(number)) == name)
        }
    }

    // MARK: By the kernel

    @Test(
        "A refused call ends the process by SIGSYS and one line that names it, on a virtual CPU's thread",
        .disabled(if: Sanitizer.isActive, "a sanitizer has handlers of signals of its own"))
    func refusedSocket() async throws {
        let result = try await #require(processExitsWith: .signal(SIGSYS), observing: [\.standardErrorContent]) {
            try run(ThreadFilters.processor) { _ = socket(AF_INET, 1, 0) }
        }
        let lines = errorLines(result)
        #expect(
            lines == [
                "stratovirt: the system call socket (\(SYS_socket)) with 0x2, 0x1, 0x0 is not allowed to a vCPU thread: "
                    + "the process is ended by SIGSYS"
            ])
    }

    @Test(
        "A refused argument ends the process, on an I/O thread",
        .disabled(if: Sanitizer.isActive, "a sanitizer has handlers of signals of its own"))
    func refusedArgument() async throws {
        let result = try await #require(processExitsWith: .signal(SIGSYS), observing: [\.standardErrorContent]) {
            try run(ThreadFilters.inputOutput) { _ = mmap(nil, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) }
        }
        let lines = errorLines(result)
        #expect(lines.count == 1)
        #expect(lines.first?.contains(" mmap (\(SYS_mmap)) with 0x0, 0x1000, 0x5 is not allowed to an I/O thread") == true)
    }

    @Test("A process without the handler is ended by SIGSYS as well, on the main thread's filter")
    func refusedUnhandled() async {
        await #expect(processExitsWith: .signal(SIGSYS)) {
            let thread = try HostThread.start(name: "test") {
                try? ThreadFilters.main().install()
                _ = Glibc.listen(0, 1)
            }
            thread.join()
        }
    }

    @Test(
        "A heap of many arenas grows and shrinks, on a virtual CPU's thread and on threads that an I/O thread starts",
        .disabled(if: Sanitizer.isActive, "a sanitizer makes calls of its own"))
    func arenas() async {
        await #expect(processExitsWith: .exitCode(0)) {
            /// More than a heap keeps at hand (M_TRIM_THRESHOLD, 128 KiB), in pieces that are not mapped one by one.
            @Sendable func growAndShrink() {
                var pieces = (0..<40).map { _ in unsafe malloc(64 << 10) }
                for index in pieces.indices {
                    unsafe pieces[index]?.storeBytes(of: 1, as: UInt8.self)
                    unsafe free(pieces[index])
                    unsafe pieces[index] = nil
                }
            }
            try run(ThreadFilters.processor) { growAndShrink() }
            try run(ThreadFilters.inputOutput) {
                // From the ninth arena on their number is limited by that of the processors.
                let release = Monitor(false)
                do {
                    let children = try (0..<24).map { index in
                        try HostThread.start(name: "child \(index)") {
                            growAndShrink()
                            release.wait { $0 ? () : nil }
                        }
                    }
                    release.update { $0 = true }
                    for child in children { child.join() }
                } catch {
                    _exit(13)
                }
            }
            _exit(0)
        }
    }

    @Test(
        "What is allowed passes, threads are started where they may be, and refused softly where not",
        .disabled(if: Sanitizer.isActive, "a sanitizer makes calls of its own"))
    func allowed() async {
        await #expect(processExitsWith: .exitCode(0)) {
            let outcomes = Mutex<[Bool]>([])
            @Sendable func note(_ isRight: Bool) { outcomes.withLock { $0.append(isRight) } }
            try run(ThreadFilters.inputOutput) {
                let memory = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                note(memory != MAP_FAILED && munmap(memory, 4096) == 0)
                do {
                    try HostThread.start(name: "child") { note(true) }.join()
                } catch {
                    note(false)
                }
            }
            try run(ThreadFilters.processor) {
                do throws(LinuxError) {
                    _ = try HostThread.start(name: "child") {}
                    note(false)
                } catch {
                    note(error.code == EAGAIN)
                }
                var ring = csl_uring()
                note(csl_uring_open(&ring, 8, 0, 0, nil, 0) == -EPERM)
            }
            _exit(outcomes.withLock { $0.count == 4 && $0.allSatisfy { $0 } } ? 0 : 10)
        }
    }
}

/// Runs a body on a thread with a filter, with refused calls told, and waits for it.
private func run(_ filter: @escaping @Sendable () -> SystemCallFilter, _ body: @escaping @Sendable () -> Void) throws {
    guard csl_tell_refused_calls(-1) == 0 else { _exit(11) }
    try HostThread.start(name: "test") {
        do {
            try filter().install()
        } catch {
            _exit(12)
        }
        body()
    }.join()
}

private func errorLines(_ result: ExitTest.Result) -> [String] {
    let lines = String(decoding: result.standardErrorContent, as: UTF8.self).split(separator: "\n")
    return lines.filter { $0.hasPrefix("stratovirt") }.map(String.init)
}
