/// An event loop with a thread of its own.
package final class EventLoopThread: Sendable {
    /// What the thread runs.
    package let loop: EventLoop

    private let thread: HostThread

    /// - Parameters:
    ///   - name: of the thread, cut to 15 bytes by the kernel.
    ///   - confinement: what the thread enters; nil for a thread that may do everything.
    /// - Throws: `LinuxError` if there are no descriptors or threads left.
    package init(name: String, confinement: ThreadConfinement? = nil) throws(LinuxError) {
        let loop = try EventLoop(name: name)
        self.loop = loop
        thread = try HostThread.start(name: name) {
            loop.wakeups.adopt()
            guard confinement?.enter() ?? true else { return }
            loop.run()
        }
    }

    deinit {
        stop()
    }

    /// The kernel's identifier of the thread, 0 before its first instruction.
    package var threadID: Int32 { thread.threadID }

    /// Ends the loop and waits for the thread, except where that is the calling thread. A second call does nothing more.
    package func stop() {
        loop.stop()
        if !thread.isCurrent { thread.join() }
    }
}
