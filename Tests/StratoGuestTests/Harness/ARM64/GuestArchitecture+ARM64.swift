#if arch(arm64)
/// What guests of this architecture have that others have not, or otherwise.
enum GuestArchitecture {
    /// Words of the kernel command line that every guest has.
    static let consoleWords = ["console=ttyAMA0", "quiet", "panic=1"]

    static let standardConsoleWords = consoleWords

    /// What a standard machine's kernel, which is Debian's, needs beside its root file system.
    static let standardRamdisk: GuestRamdisk? = .debian

    /// The root file system that `Guest/build-rootfs` makes.
    static let rootFileSystem = "rootfs-busybox-arm64"

    /// The disk that `Guest/build-disk` makes, and the kernel that it starts unless told otherwise.
    static let installedDisk = "disk-debian-aarch64"
    static let installedKernel = "arm64"

    /// Where RAM goes on that does not fit below the devices; nil where all of it is in one piece.
    static let highMemory: String? = nil

    /// A shell command that writes a boot marker: address 0x09000F00.
    static func markerCommand(_ marker: Int) -> String { "devmem 0x09000F00 32 \(marker)" }

    /// Whether a microVM's kernel can find ACPI, and with it a power button.
    static let hasACPI = false
}

extension GuestKernel {
    enum Format: String, Sendable, CaseIterable {
        case image = "Image"
        case packed = "Image.gz"

        static let standard = image
    }

    /// Our own.
    static func microVM(_ format: Format = .standard) -> GuestKernel { GuestKernel(name: "microvm-aarch64", format: format) }
    /// Those that we build for microVMs.
    static let ours = [microVM()]
    /// For the standard machine: Debian's.
    static func standardVM() -> GuestKernel { debian }
    /// Debian's, unchanged: all drivers as modules.
    static let debian = GuestKernel(name: "debian-arm64", format: .image)
}

extension GuestRamdisk {
    static let busybox = GuestRamdisk(name: "busybox-arm64")
    /// With the modules of Debian's kernel.
    static let debian = GuestRamdisk(name: "arm64")
}

/// Debian's UEFI firmware, which the guest scripts fetch.
enum GuestFirmware: String, Sendable, CaseIterable {
    /// As it was built: 2 MiB.
    case plain = "QEMU_EFI.fd"
    /// Filled up to 64 MiB.
    case padded = "AAVMF_CODE.fd"

    static let standard = plain

    var code: String { "\(GuestEnvironment.cache)/firmware-aarch64/\(rawValue)" }

    /// A private copy of the empty variables.
    func variables(in directory: ScratchDirectory) throws -> DiskImage {
        let image = DiskImage(path: directory.file("variables.fd"))
        let source = "\(GuestEnvironment.cache)/firmware-aarch64/AAVMF_VARS.fd"
        try HostTool.check("cp", ["--sparse=always", source, image.path])
        return image
    }
}
#endif
