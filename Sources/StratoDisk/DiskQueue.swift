package import StratoHost

/// Requests to one image, carried out by some engine.
///
///       requests[i] filled in ──► submit ──► … ──► completionEvent ──► takeCompletions ──► requests[i] free again
///
/// A request is named by its index. One owner fills requests in, submits them and takes completions, from one thread at a
/// time. Requests in flight at the same time have no order. Both sides are called once per batch, and allocate nothing.
package protocol DiskQueue: AnyObject, Sendable {
    /// As many as the queue is deep.
    var requests: [DiskRequest] { get }

    /// Signalled when there are completions to take; nil if all are there when `submit` returns.
    var completionEvent: EventDescriptor? { get }

    /// Starts requests; each index must be one that is not in flight.
    func submit(_ indices: [Int32])

    /// Appends the indices of requests that have been completed since the last call; their results are set.
    func takeCompletions(into indices: inout [Int32])

    /// Waits until nothing is in flight. Completions remain to be taken.
    func drain()

    /// Drains, and ends the queue's threads. The last call.
    func close()
}
