import Foundation
import Testing

/// A kernel that the guest scripts make or fetch.
struct GuestKernel: Sendable, Hashable, CustomTestStringConvertible {
    let name: String
    let format: Format

    var path: String { "\(GuestEnvironment.cache)/kernel-\(name)/\(format.rawValue)" }
    var testDescription: String { "\(name) \(format.rawValue)" }
}

/// An initial RAM disk that the guest scripts make.
struct GuestRamdisk: Sendable {
    let name: String

    var path: String { "\(GuestEnvironment.cache)/initrd-\(name)/initrd.gz" }
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
    /// Nil where firmware finds one on a disk.
    var kernel: GuestKernel? = GuestKernel.microVM()
    /// Of a standard machine, with the file of its variables.
    var firmware: GuestFirmware?
    var variables: DiskImage?
    var ramdisk: GuestRamdisk?
    var processors = "1"
    var memory = "256m"
    /// The value of `-machine`.
    var machine = "microvm"
    var disks: [GuestDisk] = []
    /// Words of the kernel command line that every guest has.
    var console = GuestArchitecture.consoleWords
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

    /// The scripted checks on a standard machine, with a kernel of its own on its command line.
    static func checkingStandard(_ checks: String..., root: DiskImage, end: String = "poweroff") -> GuestSetup {
        var setup = GuestSetup.standard
        setup.disks = [GuestDisk(image: root)]
        setup.words = ["root=/dev/vda", "rw", "init=/sbin/guest-check"] + checkWords(checks, end)
        return setup
    }

    /// A standard machine that has nothing yet.
    static var standard: GuestSetup {
        var setup = GuestSetup()
        setup.machine = "standard_vm"
        setup.kernel = .standardVM()
        setup.memory = "512m"
        setup.console = GuestArchitecture.standardConsoleWords
        setup.ramdisk = GuestArchitecture.standardRamdisk
        return setup
    }

    var isStandard: Bool { machine.hasPrefix("standard_vm") }

    private static func checkWords(_ checks: [String], _ end: String) -> [String] {
        ["guest_checks=" + checks.joined(separator: ","), "guest_end=" + end]
    }

    func arguments(qmpSocket: String) -> [String] {
        var result = ["-machine", machine, "-smp", processors, "-m", memory]
        if let kernel {
            result += ["-kernel", kernel.path, "-append", (console + words).joined(separator: " ")]
        }
        if let ramdisk { result += ["-initrd", ramdisk.path] }
        if let firmware { result += ["-drive", "file=\(firmware.code),if=pflash,unit=0,readonly=on"] }
        if let variables { result += ["-drive", "file=\(variables.path),if=pflash,unit=1"] }
        for (index, disk) in disks.enumerated() {
            let access = "readonly=\(disk.isReadOnly ? "on" : "off")"
            let drive = ["file=\(disk.image.path)", "id=drive\(index)", access] + disk.options
            let kind = isStandard ? "virtio-blk-pci" : "virtio-blk-device"
            let device = [kind, "drive=drive\(index)", "id=disk\(index)"] + disk.deviceOptions
            result += ["-drive", drive.joined(separator: ","), "-device", device.joined(separator: ",")]
        }
        if hasQMP { result += ["-qmp", "unix:\(qmpSocket),server,nowait"] }
        // The log, on standard error, tells how a machine ended that should not have.
        return result + ["-serial", serial, "-D"] + options
    }
}
