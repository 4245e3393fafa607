import Dispatch
import Foundation

/// What this process holds of its host, apart from what Swift's own runtime has: that makes threads when it likes.
enum OpenResources {
    /// Open descriptors, the one among them by which they are counted.
    static func descriptors() throws -> Int {
        settleRuntime()
        return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    }

    /// Threads that are not of the runtime's pools or of the test library.
    static func threads() throws -> Int {
        let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
        return tasks.count { task in
            // One that has ended meanwhile has no name any more.
            guard let name = try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8) else { return false }
            return !name.contains("-qos") && !name.hasPrefix("SWT ")
        }
    }

    /// Waits until there are no more than so many threads: one that was joined may still be listed for a moment.
    static func wait(forThreads count: Int) throws -> Bool {
        var patience = 5000
        while try threads() > count, patience > 0 {
            usleep(1000)
            patience -= 1
        }
        return patience > 0
    }

    /// Uses a timer, for which the runtime opens descriptors that it keeps.
    private static func settleRuntime() {
        let done = DispatchSemaphore(value: 0)
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(1)) { done.signal() }
        done.wait()
    }
}
