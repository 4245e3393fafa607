package import StratoHost
package import StratoMemory

/// Requests to one image, carried out by some engine.
///
///       requests filled in ──► submit ──► … ──► completionEvent ──► takeCompletions ──► requests free again
///
/// A request is named by its index. One owner fills requests in, submits them and takes completions, from one thread at a
/// time. Requests in flight at the same time have no order. Both sides are called once per batch, and allocate nothing.
package protocol DiskQueue: AnyObject, Sendable {
    /// As many as the queue is deep.
    var requests: DiskRequestTable { get }

    /// Signalled when there are completions to take; nil if all are there when `submit` returns.
    var completionEvent: EventDescriptor? { get }

    /// Gets what the engine needs of the kernel. Called when there is somebody who is going to submit something, so that a
    /// disk that nobody uses costs nothing; a call that is left out is made up for by the first `submit`.
    ///
    /// - Parameter memory: what the segments of all requests are part of.
    func prepare(for memory: GuestMemory)

    /// Starts requests; each index must be one that is not in flight.
    ///
    /// - Returns: true if there are completions to take already.
    func submit(_ indices: Span<Int32>) -> Bool

    /// Appends the indices of requests that have been completed since the last call; their results are set.
    ///
    /// - Parameter indices: with room for as many as the queue is deep.
    func takeCompletions(into indices: inout FixedVector<Int32>)

    /// Waits until the kernel has nothing in flight by itself. What it leaves half done is left to the queue's threads.
    ///
    /// Where an image has several queues, all of them are to be through with this before one is drained, unless their
    /// completions are being taken meanwhile: a thread of one may have to wait for a write of another.
    func drainKernel()

    /// Waits until nothing is in flight. Completions remain to be taken.
    func drain()

    /// Drains, and ends the queue's threads. The last call.
    func close()
}
