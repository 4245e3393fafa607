internal import StratoHost
internal import Synchronization

/// Carries requests out where they are submitted.
final class SynchronousDiskQueue: DiskQueue {
    private struct State: ~Copyable {
        var executor: DiskExecutor
        var completed: [Int32]
    }

    let requests: [DiskRequest]
    let completionEvent: EventDescriptor? = nil

    private let state: Mutex<State>

    init(_ image: DiskImage, depth: Int) {
        requests = (0..<max(1, depth)).map { _ in DiskRequest() }
        var completed: [Int32] = []
        completed.reserveCapacity(requests.count)
        state = Mutex(State(executor: DiskExecutor(image), completed: completed))
    }

    func submit(_ indices: [Int32]) {
        state.withLock { state in
            for index in indices { state.executor.execute(requests[Int(index)]) }
            state.completed.append(contentsOf: indices)
        }
    }

    func takeCompletions(into indices: inout [Int32]) {
        state.withLock { state in
            indices.append(contentsOf: state.completed)
            state.completed.removeAll(keepingCapacity: true)
        }
    }

    func drain() {}

    func close() {}
}
