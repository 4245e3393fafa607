public import StratoMemory

/// What a request does.
@usableFromInline
package enum DiskOperation: Sendable {
    /// Fills the segments.
    case read
    /// Stores the segments.
    case write
    /// Makes all that was completed before durable.
    case flush
    /// Declares the ranges' contents unneeded.
    case discard
    /// Makes the ranges read as zeros.
    case writeZeroes
}

/// Bytes of a disk.
@usableFromInline
package struct DiskRange: Sendable, Hashable, BitwiseCopyable {
    /// From the disk's start, in bytes.
    package var offset: UInt64

    /// In bytes.
    package var count: UInt64

    /// The host's space may be given back.
    package var mayUnmap: Bool

    package init(offset: UInt64, count: UInt64, mayUnmap: Bool = false) {
        self.offset = offset
        self.count = count
        self.mayUnmap = mayUnmap
    }
}

/// One request to a disk: a place that is made once and used again and again, and keeps the room that it once needed.
@frozen @usableFromInline
@safe
package struct DiskRequest: ~Copyable {
    @usableFromInline package var operation = DiskOperation.flush

    /// A write is durable before it is completed.
    @usableFromInline package var isWriteThrough = false

    /// Once completed: 0, or the `errno` that it failed with.
    @usableFromInline package internal(set) var result: Int32 = 0

    /// Where reads and writes begin, in bytes.
    @usableFromInline package var offset: UInt64 = 0

    /// Bytes of all segments.
    @usableFromInline package internal(set) var length = 0

    /// The request that is carried out together with this one, behind it; -1 if there is none. The engine's.
    @usableFromInline var next: Int32 = -1

    /// Bytes and segments of all requests of the run that this one is the head of. The engine's.
    @usableFromInline var runLength = 0
    @usableFromInline var runSegmentCount = 0

    // SAFETY: allocated by `grow` for `segmentRoom` elements, freed by deinit; the first `segmentCount` are
    // initialised. The same holds for the ranges.
    @usableFromInline var segmentStart: UnsafeMutablePointer<GuestBuffer>?
    @usableFromInline var segmentRoom = 0
    @usableFromInline var segmentCount = 0
    @usableFromInline var rangeStart: UnsafeMutablePointer<DiskRange>?
    @usableFromInline var rangeRoom = 0
    @usableFromInline var rangeCount = 0

    init() {}

    @inlinable
    deinit {
        unsafe segmentStart?.deallocate()
        unsafe rangeStart?.deallocate()
    }

    // MARK: Segments

    /// What is read into or written from, in order. The engine leaves them as they are.
    @inlinable
    package var segments: Span<GuestBuffer> {
        @_lifetime(borrow self)
        get {
            // SAFETY: the segments live as long as the request, which the span borrows.
            unsafe _overrideLifetime(
                Span(_unsafeElements: UnsafeBufferPointer(start: segmentStart, count: segmentCount)), borrowing: self)
        }
    }

    @inlinable
    package mutating func removeSegments() {
        segmentCount = 0
        length = 0
    }

    /// Adds a segment; all of them are less than 2⁶³ bytes.
    @inlinable
    package mutating func append(_ segment: GuestBuffer) {
        if segmentCount == segmentRoom { growSegments() }
        guard let start = unsafe segmentStart else { return }
        unsafe (start + segmentCount).initialize(to: segment)
        segmentCount &+= 1
        length &+= segment.count
    }

    // A call of its own, with nothing to pass, so that the common case keeps its registers.
    @inline(never)
    @usableFromInline
    mutating func growSegments() { unsafe DiskRequest.grow(&segmentStart, &segmentRoom) }

    /// Makes more room for elements that fill all there is.
    @unsafe
    private static func grow<Element: BitwiseCopyable>(_ start: inout UnsafeMutablePointer<Element>?, _ room: inout Int) {
        let grownRoom = max(4, room * 2)
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: grownRoom)
        if let old = unsafe start {
            unsafe grown.moveInitialize(from: old, count: room)
            unsafe old.deallocate()
        }
        unsafe start = grown
        room = grownRoom
    }

    /// The segments' place, laid out as an array of `iovec`; it stays where it is while the request is in flight.
    @unsafe
    var vectors: UnsafeRawPointer? { unsafe UnsafeRawPointer(segmentStart) }

    // MARK: Ranges

    /// What is discarded or zeroed.
    package var ranges: Span<DiskRange> {
        @_lifetime(borrow self)
        get {
            // SAFETY: as for the segments.
            unsafe _overrideLifetime(
                Span(_unsafeElements: UnsafeBufferPointer(start: rangeStart, count: rangeCount)), borrowing: self)
        }
    }

    package mutating func removeRanges() { rangeCount = 0 }

    package mutating func append(_ range: DiskRange) {
        if rangeCount == rangeRoom { unsafe DiskRequest.grow(&rangeStart, &rangeRoom) }
        guard let start = unsafe rangeStart else { return }
        unsafe (start + rangeCount).initialize(to: range)
        rangeCount += 1
    }
}

/// The requests of a queue, named by their index.
///
/// A request has one owner at a time: whoever fills it in, until it is submitted; the engine, until it is completed; then
/// again the first.
@usableFromInline
@safe
package final class DiskRequestTable: @unchecked Sendable {
    // SAFETY: allocated and initialised by init, freed by deinit. A request is handed from owner to owner through the locks of
    // a disk queue and touched by its owner alone, which is what keeps accesses apart.
    @usableFromInline let start: UnsafeMutablePointer<DiskRequest>

    /// As many as there are.
    @usableFromInline package let count: Int

    package init(count: Int) {
        self.count = max(1, count)
        unsafe start = .allocate(capacity: self.count)
        for index in 0..<self.count { unsafe (start + index).initialize(to: DiskRequest()) }
    }

    deinit {
        unsafe start.deinitialize(count: count)
        unsafe start.deallocate()
    }

    /// Looks at a request or changes it. The body must not come back to the same request; an index that is not one of
    /// the table's is a mistake in the program.
    @inlinable
    @inline(__always)
    package func with<Result>(_ index: Int32, _ body: (inout DiskRequest) -> Result) -> Result {
        precondition(UInt(bitPattern: Int(index)) < UInt(bitPattern: count))
        return unsafe body(&start[Int(index)])
    }

    /// What the completed request ended with.
    @inlinable
    package func result(of index: Int32) -> Int32 { with(index) { $0.result } }
}

/// Requests that are carried out as one: reads or writes of which each begins where the one before ends, linked by `next`.
struct DiskRun: Sendable {
    /// Requests of a run at most; StratoVirt merges as many.
    static let requestLimit = 32

    /// Segments of a run that has more than one request: vectors of one system call (`IOV_MAX`).
    static let segmentLimit = 1024

    /// Bytes of such a run: less than a system call transfers at most.
    static let lengthLimit = 1 << 30

    let head: Int32
    var requestCount = 1
    var segmentCount: Int
    var length: Int
}

extension DiskRequestTable {
    /// Links the requests from a position of a batch on that can be carried out as one, and goes on behind them.
    ///
    /// - Parameters:
    ///   - batch: requests that were submitted together.
    ///   - position: below the batch's count.
    ///   - merges: false for requests that are each looked at by themselves.
    @inline(__always)
    func nextRun(_ batch: Span<Int32>, _ position: inout Int, merges: Bool) -> DiskRun {
        let head = batch[position]
        position &+= 1
        let (run, operation, end) = with(head) { request in
            request.next = -1
            request.result = 0
            request.runLength = request.length
            request.runSegmentCount = request.segmentCount
            // Where that overflows, `extended` finds out.
            let end = request.offset &+ UInt64(truncatingIfNeeded: request.length)
            return (
                DiskRun(head: head, segmentCount: request.segmentCount, length: request.length), request.operation, end
            )
        }
        guard merges, position < batch.count, with(batch[position], { $0.offset == end && $0.operation == operation }) else {
            return run
        }
        return extended(run, batch, &position)
    }

    /// Links the requests to a run of one that go on where it ends.
    @inline(never)
    private func extended(_ start: DiskRun, _ batch: Span<Int32>, _ position: inout Int) -> DiskRun {
        let first = with(start.head) { (operation: $0.operation, isWriteThrough: $0.isWriteThrough, offset: $0.offset) }
        var run = start
        guard first.operation == .read || first.operation == .write else { return run }
        var last = run.head
        var (end, overflow) = first.offset.addingReportingOverflow(UInt64(clamping: run.length))
        while !overflow, position < batch.count, run.requestCount < DiskRun.requestLimit {
            let candidate = batch[position]
            let isTaken = with(candidate) { request in
                guard request.operation == first.operation, request.offset == end,
                    request.isWriteThrough == first.isWriteThrough,
                    run.segmentCount &+ request.segmentCount <= DiskRun.segmentLimit,
                    run.length &+ request.length <= DiskRun.lengthLimit
                else { return false }
                request.next = -1
                request.result = 0
                run.segmentCount &+= request.segmentCount
                run.length &+= request.length
                (end, overflow) = end.addingReportingOverflow(UInt64(request.length))
                return true
            }
            guard isTaken else { break }
            with(last) { $0.next = candidate }
            last = candidate
            run.requestCount &+= 1
            position &+= 1
        }
        with(run.head) { request in
            request.runLength = run.length
            request.runSegmentCount = run.segmentCount
        }
        return run
    }

    /// Appends the indices of a run's requests.
    func appendIndices(ofRun head: Int32, to indices: inout FixedVector<Int32>) {
        var index = head
        while index >= 0 {
            indices.append(index)
            index = with(index) { $0.next }
        }
    }
}
