import Foundation
import Testing

/// A kernel that the guest scripts make or fetch.
struct GuestKernel: Sendable, Hashable, CustomTestStringConvertible {
    enum Format: String, Sendable, CaseIterable {
        case bzImage
        /// ELF.
        case vmlinux
        /// What `objcopy -O binary` makes of it.
        case raw = "vmlinux.bin"
    }

    let name: String
    let format: Format

    /// Our own, with ACPI and command-line devices.
    static func microVM(_ format: Format = .bzImage) -> GuestKernel { GuestKernel(name: "microvm", format: format) }
    /// Our own as StratoVirt's is: devices by the command line alone.
    static func withoutACPI(_ format: Format = .bzImage) -> GuestKernel { GuestKernel(name: "microvm-noacpi", format: format) }
    /// Debian's for clouds, unchanged: ACPI alone, all drivers as modules.
    static let debianCloud = GuestKernel(name: "debian-cloud", format: .bzImage)

    var path: String { "\(GuestEnvironment.cache)/kernel-\(name)/\(format.rawValue)" }
    var testDescription: String { "\(name) \(format.rawValue)" }
}

/// An initial RAM disk that the guest scripts make.
enum GuestRamdisk: String, Sendable {
    case busybox
    /// With the modules of Debian's cloud kernel.
    case cloud

    var path: String { "\(GuestEnvironment.cache)/initrd-\(rawValue)/initrd.gz" }
}

/// A disk as it is given to a guest.
struct GuestDisk: Sendable {
    var image: DiskImage
    var isReadOnly = false
    /// Properties of `-drive` in their spelling, such as `aio=threads`.
    var options: [String] = ["direct=off"]
    /// Properties of `-device` in their spelling, such as `num-queues=2`.
    var deviceOptions: [String] = []
}

/// What a guest is started with.
struct GuestSetup: Sendable {
    var kernel = GuestKernel.microVM()
    var ramdisk: GuestRamdisk?
    var processors = "1"
    var memory = "256m"
    /// The value of `-machine`.
    var machine = "microvm"
    var disks: [GuestDisk] = []
    /// Words of the kernel command line that every guest has.
    var console = ["console=ttyS0", "pci=off", "reboot=k", "quiet", "panic=1"]
    /// Further words of it.
    var words: [String] = []
    var hasQMP = false
    var serial = "stdio"
    var terminal = ChildProcess.Terminal.pipes
    /// Further options of the executable.
    var options: [String] = []

    /// Runs the scripted checks, with the root file system on the first disk.
    static func checking(_ checks: String..., root: DiskImage, end: String = "poweroff") -> GuestSetup {
        var setup = GuestSetup()
        setup.disks = [GuestDisk(image: root)]
        setup.words = ["root=/dev/vda", "rw", "init=/sbin/guest-check"] + checkWords(checks, end)
        return setup
    }

    /// Runs the scripted checks from an initial RAM disk, without any disk.
    static func checking(_ checks: String..., ramdisk: GuestRamdisk, end: String = "poweroff") -> GuestSetup {
        var setup = GuestSetup()
        setup.ramdisk = ramdisk
        setup.words = checkWords(checks, end)
        return setup
    }

    /// The documents' root file system, with a shell on the serial port.
    static func shell(root: DiskImage) -> GuestSetup {
        var setup = GuestSetup()
        setup.disks = [GuestDisk(image: root)]
        setup.words = ["root=/dev/vda", "rw"]
        return setup
    }

    private static func checkWords(_ checks: [String], _ end: String) -> [String] {
        ["guest_checks=" + checks.joined(separator: ","), "guest_end=" + end]
    }

    func arguments(qmpSocket: String) -> [String] {
        var result = ["-machine", machine, "-kernel", kernel.path, "-smp", processors, "-m", memory]
        if let ramdisk { result += ["-initrd", ramdisk.path] }
        result += ["-append", (console + words).joined(separator: " ")]
        for (index, disk) in disks.enumerated() {
            let access = "readonly=\(disk.isReadOnly ? "on" : "off")"
            let drive = ["file=\(disk.image.path)", "id=drive\(index)", access] + disk.options
            let device = ["virtio-blk-device", "drive=drive\(index)", "id=disk\(index)"] + disk.deviceOptions
            result += ["-drive", drive.joined(separator: ","), "-device", device.joined(separator: ",")]
        }
        if hasQMP { result += ["-qmp", "unix:\(qmpSocket),server,nowait"] }
        // The log, on standard error, tells how a machine ended that should not have.
        return result + ["-serial", serial, "-D"] + options
    }
}
