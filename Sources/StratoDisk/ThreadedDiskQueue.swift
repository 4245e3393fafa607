internal import StratoHost
internal import StratoMemory

/// Carries requests out on threads.
final class ThreadedDiskQueue: DiskQueue {
    let requests: DiskRequestTable
    let completionEvent: EventDescriptor?

    private let event: EventDescriptor
    private let threads: DiskThreads
    private let merges: Bool

    init(_ image: DiskImage, depth: Int, threadLimit: Int) throws(LinuxError) {
        requests = DiskRequestTable(count: depth)
        event = try EventDescriptor()
        completionEvent = event
        merges = image.mergesRequests
        threads = DiskThreads(image, requests, event: event, threadLimit: threadLimit)
    }

    func prepare(for memory: GuestMemory) {}

    func submit(_ indices: Span<Int32>) -> Bool {
        var position = 0
        while position < indices.count {
            threads.start(requests.nextRun(indices, &position, merges: merges).head)
        }
        return false
    }

    func takeCompletions(into indices: inout FixedVector<Int32>) {
        event.consume()
        threads.takeCompletions(into: &indices)
    }

    func drainKernel() {}

    func drain() { threads.drain() }

    func close() { threads.close() }
}
