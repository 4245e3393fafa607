internal import StratoHost
internal import StratoMemory
internal import Synchronization

/// Carries requests out where they are submitted.
final class SynchronousDiskQueue: DiskQueue {
    private struct State: ~Copyable {
        var executor: DiskExecutor
        var completed: FixedVector<Int32>
    }

    let requests: DiskRequestTable
    let completionEvent: EventDescriptor? = nil

    private let merges: Bool
    private let state: Mutex<State>

    init(_ image: DiskImage, depth: Int) {
        requests = DiskRequestTable(count: depth)
        merges = image.mergesRequests
        state = Mutex(State(executor: DiskExecutor(image), completed: FixedVector(capacity: requests.count)))
    }

    func prepare(for memory: GuestMemory) {}

    func submit(_ indices: Span<Int32>) -> Bool {
        state.withLock { state in
            var position = 0
            while position < indices.count {
                let run = requests.nextRun(indices, &position, merges: merges)
                state.executor.execute(run: run.head, of: requests)
            }
            return state.completed.append(indices)
        }
    }

    func takeCompletions(into indices: inout FixedVector<Int32>) {
        state.withLock { state in
            indices.append(state.completed.span)
            state.completed.removeAll()
        }
    }

    func drainKernel() {}

    func drain() {}

    func close() {}
}
