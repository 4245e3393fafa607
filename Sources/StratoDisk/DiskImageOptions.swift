/// Which file a disk is, and how it is used.
package struct DiskImageOptions: Sendable, Hashable {
    /// How requests are carried out.
    package enum Engine: Sendable, Hashable {
        /// In the thread that submits them.
        case synchronous
        /// On a pool of threads, as many at once as the pool is large.
        case threads
        /// By the kernel's asynchronous I/O (`io_submit`), which is asynchronous for direct images alone.
        case native
        /// By rings shared with the kernel (`io_uring`).
        case ioUring
    }

    /// What becomes of a write of nothing but zeros.
    package enum ZeroDetection: Sendable, Hashable {
        /// It is written.
        case off
        /// The range is zeroed without writing where the host can.
        case on
        /// As `on`, and the host's space is given back if discards are passed on.
        case unmap
    }

    /// A regular file or a block device.
    package var path: String

    /// Writes are refused, and others may read the image at the same time.
    package var isReadOnly: Bool

    /// The host's page cache is bypassed.
    package var isDirect: Bool

    /// Who carries requests out.
    package var engine: Engine

    /// Somebody asked for this engine: that it is not to be had is worth a warning.
    package var isEngineChosen: Bool

    /// Discards give the host's space back; else they have no effect.
    package var passesDiscards: Bool

    /// What becomes of a write of nothing but zeros.
    package var zeroDetection: ZeroDetection

    /// Threads are started by those alone that submit requests: others may be forbidden to.
    package var isConfined = false

    package init(
        path: String, isReadOnly: Bool = false, isDirect: Bool = false, engine: Engine = .threads,
        isEngineChosen: Bool = true, passesDiscards: Bool = false, zeroDetection: ZeroDetection = .off
    ) {
        self.path = path
        self.isReadOnly = isReadOnly
        self.isDirect = isDirect
        self.engine = engine
        self.isEngineChosen = isEngineChosen
        self.passesDiscards = passesDiscards
        self.zeroDetection = zeroDetection
    }
}
