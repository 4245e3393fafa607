#if arch(x86_64)
import Foundation

/// What guests of this architecture have that others have not, or otherwise.
enum GuestArchitecture {
    /// Words of the kernel command line that every guest has.
    static let consoleWords = ["console=ttyS0", "pci=off", "reboot=k", "quiet", "panic=1"]

    static let standardConsoleWords = ["console=ttyS0", "reboot=k", "quiet", "panic=1"]

    /// What a standard machine's own kernel needs beside its root file system.
    static let standardRamdisk: GuestRamdisk? = nil

    /// The root file system that `Guest/build-rootfs` makes.
    static let rootFileSystem = "rootfs-busybox"

    /// The disk that `Guest/build-disk` makes, and the kernel that it starts unless told otherwise.
    static let installedDisk = "disk-debian"
    static let installedKernel = "cloud"

    /// Where RAM goes on that does not fit below the devices; nil where all of it is in one piece.
    static let highMemory: String? = "100000000-"

    /// A shell command that writes a boot marker: port 0x3FF.
    static func markerCommand(_ marker: Int) -> String {
        "printf '\\00\(marker)' | dd of=/dev/port bs=1 seek=1023 conv=notrunc"
    }

    /// Whether a microVM's kernel can find ACPI, and with it a power button.
    static let hasACPI = true
}

extension GuestKernel {
    enum Format: String, Sendable, CaseIterable {
        case bzImage
        /// ELF.
        case vmlinux
        /// What `objcopy -O binary` makes of it.
        case raw = "vmlinux.bin"

        static let standard = bzImage
    }

    /// Our own, with ACPI and command-line devices.
    static func microVM(_ format: Format = .standard) -> GuestKernel { GuestKernel(name: "microvm", format: format) }
    /// Our own as StratoVirt's is: devices by the command line alone.
    static func withoutACPI(_ format: Format = .standard) -> GuestKernel { GuestKernel(name: "microvm-noacpi", format: format) }
    /// Those that we build for microVMs.
    static let ours = [microVM(), withoutACPI()]
    /// Our own for the standard machine.
    static func standardVM(_ format: Format = .standard) -> GuestKernel { GuestKernel(name: "standard_vm", format: format) }
    /// Debian's for clouds, unchanged: ACPI alone, all drivers as modules.
    static let debianCloud = GuestKernel(name: "debian-cloud", format: .bzImage)
    /// Debian's for every machine, unchanged.
    static let debianGeneric = GuestKernel(name: "debian-generic", format: .bzImage)
}

extension GuestRamdisk {
    static let busybox = GuestRamdisk(name: "busybox")
    /// With the modules of Debian's cloud kernel.
    static let cloud = GuestRamdisk(name: "cloud")
    /// With those of Debian's generic kernel.
    static let generic = GuestRamdisk(name: "generic")
}

/// One of Debian's builds of UEFI firmware, which the guest scripts fetch.
enum GuestFirmware: String, Sendable, CaseIterable {
    case twoMiB = ""
    case fourMiB = "_4M"

    static let standard = fourMiB

    var code: String { "\(GuestEnvironment.cache)/firmware/OVMF_CODE\(rawValue).fd" }

    /// A private copy of the empty variables.
    func variables(in directory: ScratchDirectory) throws -> DiskImage {
        let image = DiskImage(path: directory.file("variables.fd"))
        try HostTool.check("cp", ["\(GuestEnvironment.cache)/firmware/OVMF_VARS\(rawValue).fd", image.path])
        return image
    }
}
#endif
