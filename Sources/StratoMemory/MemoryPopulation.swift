internal import CStratoLinux
internal import Glibc
internal import StratoHost
internal import Synchronization

/// Makes every page of a mapping present, on several threads at once: nearly all of the time goes into clearing pages.
@safe
final class MemoryPopulation: @unchecked Sendable {
    /// What a thread takes at a time, unless a page is larger: small enough that all are busy until the end, large enough
    /// that taking it costs nothing.
    private static let smallestPiece = 16 << 20

    /// More threads wait for memory and not for processors.
    private static let mostThreads = 16

    // SAFETY: constant; the pieces that threads work on lie apart from each other, and whoever made this object keeps the
    // mapping until `run` has returned.
    private let start: UnsafeMutableRawPointer
    private let length: Int
    private let piece: Int
    private let sharedFile: Int32?
    private let isByHand: Bool
    private let taken = Atomic<Int>(0)
    private let failure = Atomic<Int32>(0)

    /// - Parameters:
    ///   - start: a mapping that can be written.
    ///   - length: of the mapping, in bytes.
    ///   - pageSize: of huge pages, 0 for others.
    ///   - sharedFile: the file that its pages belong to, nil if they are the process's own.
    ///   - isByHand: as on kernels that cannot do it in one call.
    @unsafe
    init(start: UnsafeMutableRawPointer, length: Int, pageSize: Int, sharedFile: Int32?, isByHand: Bool = false) {
        unsafe self.start = start
        self.length = length
        self.sharedFile = sharedFile
        piece = max(pageSize, MemoryPopulation.smallestPiece)
        // SAFETY: nothing is asked for but whether the kernel knows how.
        self.isByHand = unsafe isByHand || csl_populate(start, 0) == -EINVAL
    }

    /// Makes the pages present.
    ///
    /// - Parameter threads: how many; nil for as many as there are processors for this process.
    /// - Throws: `LinuxError`; some pages may be present then.
    func run(threads: Int?) throws(LinuxError) {
        let operation = "make \(ByteCount.exact(UInt64(length))) of guest memory present"
        if isByHand, let sharedFile {
            // Touching a page that the file system has no room for would end the process.
            let code = csl_allocate_file(sharedFile, length)
            guard code == 0 || code == -EOPNOTSUPP else { throw LinuxError(code: 0 &- code, operation: operation) }
        }
        let wanted = threads ?? min(MemoryPopulation.mostThreads, Int(csl_usable_processor_count()))
        let useful = (length - 1) / piece + 1
        var helpers: [HostThread] = []
        while helpers.count + 1 < min(wanted, useful) {
            // A thread that cannot be had is one less.
            guard let helper = try? HostThread.start(name: "memory-\(helpers.count + 1)", { self.work() }) else { break }
            helpers.append(helper)
        }
        work()
        for helper in helpers { helper.join() }
        let code = failure.load(ordering: .acquiring)
        guard code == 0 else { throw LinuxError(code: code, operation: operation) }
    }

    private func work() {
        while failure.load(ordering: .relaxed) == 0 {
            let offset = taken.wrappingAdd(piece, ordering: .relaxed).oldValue
            guard offset >= 0, offset < length else { return }
            let count = min(piece, length - offset)
            if isByHand {
                // SAFETY: inside the mapping.
                unsafe csl_touch(start + offset, count)
            } else {
                // SAFETY: as above.
                let code = unsafe csl_populate(start + offset, count)
                if code != 0 { failure.store(0 &- code, ordering: .releasing) }
            }
        }
    }
}
