internal import CStratoLinux
internal import Glibc
internal import Synchronization

/// A POSIX thread of our own, never one of a shared pool: it may block.
///
/// Each thread starts with every signal but those of its own faults blocked, so that the process's signals reach only the
/// thread that asks for them.
package final class HostThread: Sendable {
    private struct Entry: Sendable {
        let name: String
        let body: @Sendable () -> Void
        let thread: HostThread
        /// Whether the thread that starts this one is woken late, as `ThreadWakeups` has it.
        let isStarterLate = csl_is_woken_late()
    }

    private final class EntryBox {
        let entry: Entry
        init(_ entry: Entry) { self.entry = entry }
    }

    /// The thread's name, at most 15 bytes of which the kernel keeps.
    package let name: String

    private let handle = Mutex<pthread_t?>(nil)
    private let kernelID = Atomic<Int32>(0)

    private init(name: String) {
        self.name = name
    }

    deinit {
        // Nobody can join any more: the system takes the thread's memory back when it ends.
        if let handle = handle.withLock({ $0.take() }) { pthread_detach(handle) }
    }

    /// The kernel's identifier of the thread (`gettid`), 0 before its first instruction.
    package var threadID: Int32 { kernelID.load(ordering: .acquiring) }

    /// True on this very thread.
    package var isCurrent: Bool { handle.withLock { $0.map { pthread_equal($0, pthread_self()) != 0 } ?? false } }

    /// Starts a thread that runs `body` once.
    ///
    /// - Parameters:
    ///   - name: shown by the kernel, cut to 15 bytes.
    ///   - stackSize: in bytes; only what is touched becomes resident.
    ///   - body: what the thread does.
    /// - Returns: the thread, which runs on if it is not kept.
    /// - Throws: `LinuxError` if the system has no room for another thread.
    package static func start(
        name: String, stackSize: Int = 1 << 20, _ body: @escaping @Sendable () -> Void
    ) throws(LinuxError) -> HostThread {
        let thread = HostThread(name: name)
        let box = unsafe Unmanaged.passRetained(EntryBox(Entry(name: name, body: body, thread: thread)))
        var attributes = pthread_attr_t()
        // SAFETY: the attributes are initialised before they are used and destroyed after; the box is consumed by the
        // thread, or released here if none was made.
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setstacksize(&attributes, stackSize)
        var all = sigset_t()
        var previous = sigset_t()
        unsafe sigfillset(&all)
        // A fault is delivered to the thread that made it: blocked, it would end the process before any handler of the
        // program's could put its terminal in order.
        for fault in [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS] { unsafe sigdelset(&all, fault) }
        unsafe pthread_sigmask(SIG_SETMASK, &all, &previous)
        var created = pthread_t()
        let code = unsafe pthread_create(&created, &attributes, hostThreadEntry, box.toOpaque())
        unsafe pthread_sigmask(SIG_SETMASK, &previous, nil)
        guard code == 0 else {
            unsafe box.release()
            throw LinuxError(code: code, operation: "start thread \(name)")
        }
        thread.handle.withLock { $0 = created }
        return thread
    }

    /// Waits until the body has returned. Only the first of several calls waits.
    package func join() {
        guard let handle = handle.withLock({ $0.take() }) else { return }
        // SAFETY: the handle was taken out above, so that it is joined once.
        _ = pthread_join(handle, nil)
    }

    fileprivate static func run(_ pointer: UnsafeMutableRawPointer) {
        // SAFETY: the pointer is the retained box that `start` made, and is consumed once.
        let entry = unsafe Unmanaged<EntryBox>.fromOpaque(pointer).takeRetainedValue().entry
        entry.thread.kernelID.store(csl_gettid(), ordering: .releasing)
        // SAFETY: the string lives for the length of the call; the kernel keeps 15 bytes of it.
        unsafe csl_set_thread_name(entry.name)
        // A policy is inherited. If it can't be had back, the thread is woken late.
        if entry.isStarterLate { _ = csl_wake_late(false) }
        entry.body()
        csl_release_thread_stack()
    }
}

/// A file-level function: a closure inside a type may inherit an actor's isolation and trap on a foreign thread.
private func hostThreadEntry(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let pointer = unsafe pointer {
        unsafe HostThread.run(pointer)
    }
    return nil
}
