internal import StratoBoot
internal import StratoHost
internal import StratoMemory
internal import StratoPlatform

/// Part of a file that firmware reads as an item.
private final class BootFileSource: FirmwareSource {
    private let file: BootFile
    private let start: UInt64
    let size: UInt32

    init(_ file: BootFile, _ range: Range<UInt64>) throws(MachineError) {
        guard let size = UInt32(exactly: range.upperBound - range.lowerBound) else {
            throw MachineError("\(file.option) \(file.path): firmware takes less than 4 GiB")
        }
        self.file = file
        start = range.lowerBound
        self.size = size
    }

    func read(at offset: UInt32, count: Int, to address: GuestAddress, in memory: GuestMemory) throws(LinuxError) {
        try file.read(offset: start &+ UInt64(offset), count: count, to: address, in: memory)
    }
}

extension FirmwareConfiguration {
    /// Offers the kernel, its initial RAM disk and its command line, which firmware starts before it looks at any disk.
    ///
    /// - Throws: `MachineError` for a file that firmware cannot start.
    func offer(_ source: BootSource) throws(MachineError) {
        let kernel = try source.openKernel()
        let ramdisk = try source.openInitialRamdisk()
        let setupSize = try building { try FirmwareKernelImage.setupSize(of: kernel) }
        if setupSize > 0 {
            try offer(kernel, 0..<setupSize, .setupSize, .setupData)
        }
        try offer(kernel, setupSize..<kernel.size, .kernelSize, .kernelData)
        if let ramdisk {
            try offer(ramdisk, 0..<ramdisk.size, .initialRAMDiskSize, .initialRAMDiskData)
        }
        let commandLine = Array(source.commandLine.utf8) + [0]
        try building {
            try set(.commandLineSize, number: UInt32(clamping: commandLine.count))
            try set(.commandLineData, commandLine)
        }
    }

    private func offer(_ file: BootFile, _ range: Range<UInt64>, _ size: Key, _ data: Key) throws(MachineError) {
        let source = try BootFileSource(file, range)
        try building {
            try set(size, number: source.size)
            try set(data, source: source)
        }
    }
}
