import Foundation
import Testing

/// What is asked of the standard machine with firmware and a disk that boots by itself, on every architecture.
enum InstalledDisk {
    /// Firmware, a boot loader and systemd are emulated as everything else.
    private static let patience: TimeInterval = 900

    /// A login on the serial port, and a shutdown by the power button.
    static func expectLoginAndPowerButton(in directory: ScratchDirectory) throws {
        var setup = try GuestSetup.installed(DiskImage.installed(in: directory), in: directory)
        setup.hasQMP = true
        try GuestMachine.run(setup, in: directory) { guest in
            try guest.waitFor("GRUB starts", within: patience)
            try guest.waitFor("login: ", within: patience)
            try guest.type("root")
            try guest.waitFor("Password: ")
            try guest.type("guest")
            try guest.waitFor("# ")
            try guest.type("systemctl is-active multi-user.target; echo guest-$((20 + 22))")
            try guest.waitFor("guest-42", within: Patience.guest)
            let monitor = try guest.connectQMP()
            try monitor.execute("system_powerdown")
            _ = try monitor.waitForEvent("POWERDOWN")
            let event = try monitor.waitForEvent("SHUTDOWN", within: Patience.guest)
            #expect(event.reason == "guest-shutdown")
            try guest.waitForEnd(within: Patience.guest)
            // systemd says so at the end of a shutdown that ran through.
            #expect(guest.serial.text.contains("Power down") || guest.serial.text.contains("Powering off"))
        }
    }

    /// A boot entry that efibootmgr makes in one run, and that the next boots from; and what `-smbios` says, as the guest reads it.
    ///
    /// - Parameters:
    ///   - checks: what else runs the first time.
    ///   - nextKernel: which of the disk's kernels is started the second time.
    ///   - nextChecks: what else runs then.
    ///   - adjust: changes the machine of both runs.
    /// - Returns: what the guest reported in both runs.
    static func expectBootEntry(
        checks: [String] = ["smbios"], nextKernel: String = GuestArchitecture.installedKernel, nextChecks: [String] = [],
        in directory: ScratchDirectory, adjust: (inout GuestSetup) -> Void = { _ in }
    ) throws -> (first: GuestCheckReport, next: GuestCheckReport) {
        let words = ["guest_checks=" + (["efi-boot-entry"] + checks).joined(separator: ","), "guest_end=poweroff"]
        let disk = try DiskImage.installed(in: directory, words: words)
        var setup = try GuestSetup.installed(disk, in: directory)
        setup.disks[0].deviceOptions = ["bootindex=0"]
        setup.options = [
            "-smbios", "type=1,manufacturer=Maker,product=Thing,serial=S-1,sku=K-1,family=F-1",
            "-smbios", "type=2,product=Board,asset=A-2", "-smbios", "type=3,asset=A-3",
            "-smbios", "type=4,manufacturer=Chips,max-speed=3000", "-smbios", "type=17,bank=Bank,part=P-17",
            "-uuid", "9a1f2c3d-0000-4000-8000-00000000000a",
        ]
        adjust(&setup)
        var reports: [GuestCheckReport] = []
        try GuestMachine.run(setup, in: directory) { guest in
            let report = try guest.finishChecks(within: patience)
            reports.append(report)
            #expect(report.result("efi-boot-entry")?["number"]?.isEmpty == false)
            let decoded = try #require(report.listings["dmidecode"]).joined(separator: "\n")
            for text in [
                "Manufacturer: Maker", "Product Name: Thing", "Serial Number: S-1", "SKU Number: K-1", "Family: F-1",
                "UUID: 9a1f2c3d-0000-4000-8000-00000000000a", "Product Name: Board", "Asset Tag: A-2", "Asset Tag: A-3",
                "Manufacturer: Chips", "Max Speed: 3000 MHz", "Bank Locator: Bank", "Part Number: P-17", "Size: 1 GB",
            ] { #expect(decoded.contains(text), "dmidecode says nothing of \(text)") }
        }
        let nextWords = ["guest_checks=" + (["up", "efi"] + nextChecks).joined(separator: ","), "guest_end=poweroff"]
        try disk.start(kernel: nextKernel, words: nextWords)
        try GuestMachine.run(setup, in: directory) { guest in
            let report = try guest.finishChecks(within: patience)
            reports.append(report)
            let entry = try #require(report.results("efi-boot").first { $0["label"] == "guest-check" })
            #expect(report.result("efi")?["current"] == entry["number"]?.lowercased())
        }
        return (reports[0], reports[1])
    }
}

extension GuestSetup {
    /// A standard machine with firmware that finds a disk, and nothing else.
    fileprivate static func installed(_ disk: DiskImage, in directory: ScratchDirectory) throws -> GuestSetup {
        var setup = GuestSetup.standard
        setup.kernel = nil
        setup.ramdisk = nil
        setup.firmware = .standard
        setup.variables = try GuestFirmware.standard.variables(in: directory)
        setup.memory = "1g"
        setup.disks = [GuestDisk(image: disk)]
        return setup
    }
}
