import StratoVMM
import Testing

@testable import StratoVirtCommand

@Suite("Right command lines")
struct AcceptedTests {
    private let documentedMicroVM = [
        "-machine", "microvm", "-kernel", "/path/to/kernel", "-smp", "1", "-m", "1024m",
        "-append", "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda",
        "-drive", "file=/path/to/rootfs,id=rootfs,readonly=off,direct=off",
        "-device", "virtio-blk-device,drive=rootfs",
        "-qmp", "unix:/path/to/socket,server,nowait", "-serial", "stdio",
    ]

    private let documentedStandard = [
        "-machine", "standard_vm", "-kernel", "/path/to/kernel", "-smp", "1", "-m", "2G",
        "-append", "console=\(HostArchitecture.serialConsole) reboot=k panic=1 root=/dev/vda",
        "-drive", "file=/path/to/rootfs,id=rootfs,readonly=off,direct=off",
        "-device", "virtio-blk-device,drive=rootfs",
        "-drive", "file=/path/to/OVMF_CODE.fd,if=pflash,unit=0,readonly=true",
        "-drive", "file=/path/to/OVMF_VARS.fd,if=pfalsh,unit=1",
        "-qmp", "unix:/path/to/socket,server,nowait", "-serial", "stdio",
    ]

    @Test("The boot document's microvm command line means what it says")
    func documentedMicroVMLine() throws {
        let line = try accepted(documentedMicroVM)
        var image = DiskImageConfiguration(id: "rootfs", path: "/path/to/rootfs")
        image.isDirect = false
        var expected = VirtualMachineConfiguration()
        expected.memory.size = .gibibytes(1)
        expected.confinesThreads = true
        expected.bootLoader = LinuxBootLoader(
            kernel: "/path/to/kernel", commandLine: "console=ttyS0 pci=off reboot=k quiet panic=1 root=/dev/vda")
        expected.storageDevices = [StorageDeviceConfiguration(id: "rootfs", image: image)]
        expected.serialPort = SerialPortConfiguration(backend: .standardIO)
        #expect(line.configuration == expected)
        #expect(line.monitors == [.unixSocket(path: "/path/to/socket")])
        #expect(line.log == .warnings)
        #expect(!line.isDaemon)
        #expect(line.pidFile == nil)
        #expect(line.action == .run)
    }

    @Test("The same with two dashes, with '=' and in any order of options is the same machine")
    func spellings() throws {
        let expected = try accepted(documentedMicroVM).configuration
        var attached: [String] = []
        for index in stride(from: 0, to: documentedMicroVM.count, by: 2) {
            attached.insert("-\(documentedMicroVM[index])=\(documentedMicroVM[index + 1])", at: 0)
        }
        #expect(try accepted(attached).configuration == expected)
    }

    @Test("The boot document's standard command line means what it says, with a line for each thing that it does not say right")
    func documentedStandardLine() throws {
        let line = try accepted(documentedStandard)
        var image = DiskImageConfiguration(id: "rootfs", path: "/path/to/rootfs")
        image.isDirect = false
        var expected = VirtualMachineConfiguration()
        expected.machine = MachineConfiguration(kind: .standard)
        expected.memory.size = .gibibytes(2)
        expected.confinesThreads = true
        expected.bootLoader = LinuxBootLoader(
            kernel: "/path/to/kernel",
            commandLine: "console=\(HostArchitecture.serialConsole) reboot=k panic=1 root=/dev/vda")
        expected.firmware = FirmwareImages(code: "/path/to/OVMF_CODE.fd", variables: "/path/to/OVMF_VARS.fd")
        expected.storageDevices = [StorageDeviceConfiguration(id: "rootfs", image: image)]
        expected.serialPort = SerialPortConfiguration(backend: .standardIO)
        #expect(line.configuration == expected)
        #expect(
            line.warnings == [
                "-device virtio-blk-device: a standard machine's disks are on PCI; taken as virtio-blk-pci",
                "-drive: if=pfalsh is taken as if=pflash",
            ])
    }

    @Test(
        "Every name of the standard machine is one machine",
        arguments: ["standard_vm", "standard-vm", "standard", "Standard_VM", HostArchitecture.standardMachine])
    func standardNames(_ name: String) throws {
        #expect(try CommandLineParser.parse(["-machine", name]).configuration.machine.kind == .standard)
    }

    @Test("A PCI disk of a standard machine has a bus and an address")
    func pciDisk() throws {
        let line = try accepted([
            "-machine", "type=\(HostArchitecture.standardMachine)", "-kernel", "K", "-drive", "file=R,id=r",
            "-device", "virtio-blk-pci,id=d,drive=r,bus=pcie.0,addr=0x3,multifunction=off", "-drive", "file=S,id=s",
            "-device", "virtio-blk-pci,drive=s,bus=port1,addr=0x0.0x1", "-device",
            "pcie-root-port,id=port1,port=0x10,bus=pcie.0,addr=30.7",
        ])
        let disks = line.configuration.storageDevices
        #expect(disks.map(\.id) == ["d", "s"])
        #expect(disks.map(\.placement) == [PCIPlacement(device: 3), PCIPlacement(bus: "port1", device: 0, function: 1)])
        var port = PCIRootPortConfiguration(id: "port1")
        port.number = 16
        port.placement = PCIPlacement(device: 30, function: 7)
        #expect(line.configuration.rootPorts == [port])
    }

    @Test("The description of the machine is read type by type, and the UUID is one")
    func identity() throws {
        let line = try accepted(
            [
                "-machine", "q35", "-kernel", "K", "-smbios", "type=0,vendor=V,version=1,date=01/02/2024",
                "-smbios", "type=1,manufacturer=M,product=P,serial=S,sku=K,family=F,uuid=9A1F2C3D-0000-4000-8000-00000000000A",
                "-smbios", "2,asset=A,location=L", "-smbios", "type=3,sku=U", "-smbios",
                "type=4,sock_pfx=SOCK,max-speed=3000,current-speed=2000", "-smbios", "type=17,loc_pfx=D,bank=B,speed=2666",
            ].map { $0 == "q35" ? HostArchitecture.standardMachine : $0 })
        var expected = SystemIdentity()
        expected.firmware = SystemIdentity.Firmware()
        expected.firmware?.vendor = "V"
        expected.firmware?.version = "1"
        expected.firmware?.date = "01/02/2024"
        expected.system.manufacturer = "M"
        expected.system.product = "P"
        expected.system.serialNumber = "S"
        expected.system.stockKeepingUnit = "K"
        expected.system.family = "F"
        expected.baseboard.assetTag = "A"
        expected.baseboard.location = "L"
        expected.chassis.stockKeepingUnit = "U"
        expected.processors.socketPrefix = "SOCK"
        expected.processors.maximumSpeed = 3000
        expected.processors.currentSpeed = 2000
        expected.memoryDevices.locatorPrefix = "D"
        expected.memoryDevices.bank = "B"
        expected.memoryDevices.speed = 2666
        #expect(line.configuration.identity == expected)
        #expect(line.configuration.uuid?.description == "9a1f2c3d-0000-4000-8000-00000000000a")
    }

    @Test("Firmware is only read, and its variables written, unless told otherwise")
    func flash() throws {
        func firmware(_ code: String, _ variables: String? = nil) throws -> FirmwareImages? {
            var words = ["-machine", "standard_vm", "-drive", "if=pflash,unit=0,file=C" + code]
            if let variables { words += ["-drive", "if=pflash,unit=1,format=raw,file=V" + variables] }
            return try accepted(words).configuration.firmware
        }
        #expect(try firmware("") == FirmwareImages(code: "C"))
        #expect(try firmware("", ",readonly=off") == FirmwareImages(code: "C", variables: "V"))
        var writable = FirmwareImages(code: "C")
        writable.isCodeReadOnly = false
        #expect(try firmware(",readonly=off") == writable)
    }

    @Test(
        "Files are out of reach where no client can add one, and in the directories that the line names",
        arguments: [
            ("", [], false), ("-landlock on", [], true), ("-landlock off", nil, false),
            ("-landlock path=/a", ["/a"], true), ("-landlock path=/a -landlock on -landlock path=/b", ["/a", "/b"], true),
            ("-qmp unix:S,server,nowait", nil, false), ("-qmp unix:S,server,nowait -landlock on", [], true),
            ("-mon chardev=m -chardev socket,id=m,path=S,server,nowait", nil, false),
            ("-qmp unix:S,server,nowait -landlock path=/images", ["/images"], true),
        ] as [(String, [String]?, Bool)])
    func landlock(_ words: String, _ directories: [String]?, _ isDemanded: Bool) throws {
        let line = try accepted(["-kernel", "K"] + words.split(separator: " ").map(String.init))
        #expect(line.configuration.reachableDirectories == directories)
        #expect(line.demandsLandlock == isDemanded)
    }

    @Test("What the process makes for its own time is known, to be removed")
    func filesOfProcess() throws {
        let line = try accepted(
            "-kernel K -qmp unix:/q,server,nowait -qmp tcp:127.0.0.1:4444,server,nowait -serial socket,path=/s,server,nowait "
                .split(separator: " ").map(String.init) + ["-daemonize", "-pidfile", "/p"])
        #expect(Set(line.filesOfProcess) == ["/q", "/s", "/p"])
    }

    @Test("Kata's command line is accepted, with -D that has no file")
    func kata() throws {
        let line = try accepted([
            "-name", "sandbox-1f2e", "-uuid", "9a1f2c3d-0000-4000-8000-00000000000A", "-smp", "2", "-m", "2048", "-kernel", "/k",
            "-append", "reboot=k panic=1 pci=off acpi=off 8250.nr_uarts=0", "-qmp", "unix:/run/vc/qmp.socket,server,nowait", "-D",
            "-disable-seccomp", "-machine", "type=microvm,dump-guest-core=off,mem-share=on", "-initrd", "/i",
            "-chardev", "socket,id=virtio_fs,path=/run/vc/fs.sock,server,nowait",
            "-drive", "id=rootfs,file=/r,readonly=on,direct=off", "-device", "virtio-blk-device,drive=rootfs,id=virtio-blk0",
        ])
        #expect(line.configuration.name == "sandbox-1f2e")
        #expect(!line.configuration.confinesThreads)
        #expect(line.configuration.uuid?.description == "9a1f2c3d-0000-4000-8000-00000000000a")
        #expect(line.configuration.processors.count == 2)
        #expect(line.configuration.memory.size == .gibibytes(2))
        #expect(!line.configuration.memory.isDumped)
        #expect(line.configuration.memory.isShared)
        #expect(line.configuration.bootLoader?.initialRamdisk == "/i")
        #expect(line.configuration.storageDevices.first?.id == "virtio-blk0")
        #expect(line.configuration.storageDevices.first?.image.isReadOnly == true)
        #expect(line.configuration.characterDevices.map(\.id) == ["virtio_fs"])
        #expect(line.log == .standardError)
        #expect(line.warnings == ["-chardev virtio_fs: nothing uses it, and it is not opened"])
    }

    @Test("libvirt's probe and libvirt's options are accepted; those that mean nothing here change nothing")
    func libvirt() throws {
        let probe = try accepted(
            words(
                "-S -no-user-config -nodefaults -nographic -machine none,accel=kvm:tcg -qmp unix:/q,server=on,"
                    + "wait=off -pidfile /p -daemonize"
            ))
        #expect(probe.configuration.machine.kind == .none)
        #expect(probe.configuration.startsPaused)
        #expect(probe.isDaemon)
        #expect(probe.pidFile == "/p")
        let machine = try accepted(
            words(
                "-name guest=vm,,1,debug-threads=on -machine microvm,usb=off,accel=kvm -accel kvm -cpu host -m size=1048576k "
                    + "-overcommit mem-lock=off -smp 4,sockets=1,dies=1,cores=2,threads=2 -sandbox on,obsolete=deny -msg timestamp=on "
                    + "-rtc base=utc -boot strict=on -realtime mlock=off -usb -display none -kernel /k "
                    + "-chardev socket,id=mon,path=/m,server,nowait -mon chardev=mon,id=monitor,mode=control "
                    + "-chardev pty,id=charserial0 -serial chardev:charserial0"))
        #expect(machine.configuration.name == "vm,1")
        #expect(machine.configuration.memory.size == .gibibytes(1))
        #expect(machine.configuration.processors.topology == ProcessorTopology(cores: 2, threads: 2))
        #expect(machine.monitors == [.unixSocket(path: "/m")])
        #expect(machine.configuration.serialPort == SerialPortConfiguration(backend: .pseudoTerminal, id: "charserial0"))
        #expect(machine.configuration.characterDevices.isEmpty)
        #expect(machine.warnings.isEmpty)
    }

    // MARK: Grammar

    @Test(
        "Lists are split at commas; two commas are one of the element",
        arguments: [
            ("", [""]), ("a", ["a"]), ("a,b", ["a", "b"]), ("a,,b", ["a,b"]), ("a,,,b", ["a,", "b"]), ("a,,,,b", ["a,,b"]),
            (",a", ["", "a"]), ("a,", ["a", ""]), (",,", [","]), ("é,,=,x", ["é,=", "x"]),
        ])
    func splitting(_ text: String, _ elements: [String]) {
        #expect(PropertyList.split(text) == elements)
    }

    @Test("A path may have commas and equals signs")
    func commasInPaths() throws {
        let line = try accepted([
            "-kernel", "/a,b", "-drive", "file=/x,,y=z,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
            "-qmp", "unix:/s=1,,2,server,nowait",
        ])
        #expect(line.configuration.bootLoader?.kernel == "/a,b")
        #expect(line.configuration.storageDevices.first?.image.path == "/x,y=z")
        #expect(line.monitors == [.unixSocket(path: "/s=1,2")])
    }

    @Test(
        "Sizes have a letter of either case, or count the unit of their option",
        arguments: [
            ("512", 512 << 20), ("1024m", 1 << 30), ("2G", 2 << 30), ("2g", 2 << 30), ("4k", 4096), ("4K", 4096),
            ("17592186044415", 17_592_186_044_415 << 20),
        ] as [(String, UInt64)])
    func sizes(_ text: String, _ bytes: UInt64) {
        #expect(PropertyList.size(text, unit: 1 << 20) == bytes)
    }

    @Test(
        "What is no size, or more than 64 bits hold, is none",
        arguments: ["", "k", "G", "-1", "1.5G", "1T", "0x10", "17592186044416", "18014398509481984K", " 1", "1 ", "１"])
    func notSizes(_ text: String) {
        #expect(PropertyList.size(text, unit: 1 << 20) == nil)
    }

    @Test(
        "Switches have all of StratoVirt's spellings, and none is on", arguments: ["on", "yes", "true", "unmap"],
        ["off", "no", "false", "ignore"])
    func booleans(_ on: String, _ off: String) throws {
        func isReadOnly(_ property: String) throws -> Bool? {
            try CommandLineParser.parse([
                "-kernel", "K", "-drive", "file=a,id=a,\(property)", "-device", "virtio-blk-device,drive=a",
            ])
            .configuration.storageDevices.first?.image.isReadOnly
        }
        #expect(try isReadOnly("readonly=\(on)") == true)
        #expect(try isReadOnly("readonly=\(off)") == false)
        #expect(try isReadOnly("readonly") == true)
    }

    @Test("-append takes many words and many times, and parameters that begin with a dash")
    func append() throws {
        #expect(
            try accepted(["-kernel", "K", "-append", "a", "b=c", "-append", "-- single", "-append", "", "-append=-x"])
                .configuration.bootLoader?.commandLine == "a b=c -- single -x")
    }

    @Test("A trailing '--' ends the options")
    func doubleDash() throws {
        #expect(try accepted(["-kernel", "K", "--"]).configuration.bootLoader?.kernel == "K")
    }

    // MARK: Meaning

    @Test(
        "A topology is completed from what is given: cores before sockets before threads",
        arguments: [
            ("4", 4, nil, nil),
            ("cpus=4,sockets=2", 4, nil, ProcessorTopology(sockets: 2, cores: 2)),
            ("4,cores=2", 4, nil, ProcessorTopology(sockets: 2, cores: 2)),
            ("8,cores=2,sockets=1", 8, nil, ProcessorTopology(sockets: 1, cores: 2, threads: 4)),
            ("8,dies=2,clusters=2", 8, nil, ProcessorTopology(dies: 2, clusters: 2, cores: 2)),
            ("sockets=2,cores=3,threads=2", 12, nil, ProcessorTopology(sockets: 2, cores: 3, threads: 2)),
            ("2,maxcpus=8,threads=2", 2, 8, ProcessorTopology(cores: 4, threads: 2)),
            ("maxcpus=6", 6, 6, nil),
        ] as [(String, Int, Int?, ProcessorTopology?)])
    func topology(_ text: String, _ count: Int, _ maximum: Int?, _ topology: ProcessorTopology?) throws {
        let processors = try accepted(["-kernel", "K", "-smp", text]).configuration.processors
        #expect(processors.count == count)
        #expect(processors.maximumCount == maximum)
        #expect(processors.topology == topology)
    }

    @Test("Drives and devices without an id get one that nothing else has")
    func generatedIDs() throws {
        let line = try CommandLineParser.parse([
            "-kernel", "K", "-drive", "file=a", "-drive", "file=b,id=drive0", "-drive", "file=c,id=x",
            "-device", "virtio-blk-device,drive=drive1", "-device", "virtio-blk-device,drive=drive0,id=x",
            "-device", "virtio-blk-device,drive=x", "-chardev", "pty", "-chardev", "pty,id=chardev1", "-chardev", "null",
        ])
        #expect(line.configuration.storageDevices.map(\.image.path) == ["a", "b", "c"])
        #expect(line.configuration.storageDevices.map(\.image.id) == ["drive1", "drive0", "x"])
        #expect(line.configuration.storageDevices.map(\.id) == ["drive1", "x", "x-1"])
        #expect(line.configuration.characterDevices.map(\.id) == ["chardev0", "chardev1", "chardev2"])
        #expect(line.configuration.problems().isEmpty)
    }

    @Test("Every property of a disk reaches the configuration")
    func disk() throws {
        let line = try accepted([
            "-kernel", "K", "-object", "iothread,id=io",
            "-drive",
            "file=a,id=a,readonly=on,direct=on,aio=threads,format=raw,media=disk,discard=unmap,"
                + "detect-zeroes=unmap,throttling.iops-total=100",
            "-device", "virtio-blk-device,drive=a,id=d,serial=S1,num-queues=4,queue-size=512,iothread=io,bootindex=2",
        ])
        var image = DiskImageConfiguration(id: "a", path: "a", isReadOnly: true, isDirect: true)
        image.engine = .threads
        image.discard = .unmap
        image.zeroDetection = .unmap
        image.requestsPerSecond = 100
        var device = StorageDeviceConfiguration(id: "d", image: image)
        device.serial = "S1"
        device.queueCount = 4
        device.queueSize = 512
        device.ioThread = "io"
        device.bootIndex = 2
        #expect(line.configuration.storageDevices == [device])
        #expect(line.configuration.ioThreads == [IOThreadConfiguration(id: "io")])
        #expect(line.warnings.isEmpty)
    }

    @Test("A drive bypasses the page cache unless told otherwise, and its engine is the monitor's choice")
    func driveDefaults() throws {
        let image = try accepted(words("-kernel K -drive file=a,id=a -device virtio-blk-device,drive=a"))
            .configuration.storageDevices.first?.image
        #expect(image == DiskImageConfiguration(id: "a", path: "a", isReadOnly: false, isDirect: true))
        let cdrom = try accepted(words("-kernel K -drive file=a,id=a,media=cdrom -device virtio-blk-device,drive=a"))
        #expect(cdrom.configuration.storageDevices.first?.image.isReadOnly == true)
    }

    @Test("Every switch of the machine reaches the configuration")
    func machine() throws {
        let configuration = try accepted(
            words("-kernel K -machine MicroVM,acpi=off,boot-markers=on,empty-slots=on -mem-path /huge -mem-prealloc -freeze")
        ).configuration
        #expect(configuration.machine.kind == .microVM)
        #expect(!configuration.machine.hasACPI)
        #expect(configuration.machine.hasBootMarkers)
        #expect(configuration.machine.showsEmptySlots)
        #expect(configuration.memory.path == "/huge")
        #expect(configuration.memory.isPreallocated)
        #expect(configuration.memory.usesTransparentHugePages == nil)
        #expect(configuration.startsPaused)
        for (word, isWanted) in [("on", true), ("off", false)] {
            let memory = try accepted(words("-kernel K -machine microvm,thp=\(word)")).configuration.memory
            #expect(memory.usesTransparentHugePages == isWanted)
        }
    }

    @Test(
        "Every backend of the serial port is understood",
        arguments: [
            ("stdio", .standardIO), ("pty", .pseudoTerminal), ("file,path=/f", .file(path: "/f")),
            ("socket,path=/s,server,nowait", .unixSocket(path: "/s")),
            ("socket,path=/s,server=on,wait=off", .unixSocket(path: "/s")),
            ("socket,port=4555,server,nowait", .tcpSocket(host: "127.0.0.1", port: 4555)),
            ("socket,host=0.0.0.0,port=1,server,nowait", .tcpSocket(host: "0.0.0.0", port: 1)),
            ("socket,host=localhost,port=65535,server,nowait", .tcpSocket(host: "127.0.0.1", port: 65535)),
            ("redirect-to-log", .log), ("null", .null),
        ] as [(String, CharacterBackendConfiguration)])
    func serialPort(_ text: String, _ backend: CharacterBackendConfiguration) throws {
        #expect(
            try accepted(["-kernel", "K", "-serial", text]).configuration.serialPort == SerialPortConfiguration(backend: backend))
        let named = try accepted(["-kernel", "K", "-serial", "chardev:c", "-chardev", text + ",id=c"]).configuration
        #expect(named.serialPort == SerialPortConfiguration(backend: backend, id: "c"))
        #expect(named.characterDevices.isEmpty)
    }

    @Test(
        "A numeric address of either family is one",
        arguments: [
            ("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("[::1]", "::1"), ("::", "::"), ("fe80::1:2", "fe80::1:2"),
            ("1::", "1::"), ("[1:2:3:4:5:6:7:8]", "1:2:3:4:5:6:7:8"),
        ])
    func addresses(_ text: String, _ host: String) throws {
        #expect(
            try accepted(["-kernel", "K", "-qmp", "tcp:\(text):1,server,nowait"]).monitors == [.tcpSocket(host: host, port: 1)])
    }

    @Test(
        "What is no numeric address is refused",
        arguments: [
            "", "1.2.3", "1.2.3.256", "1.2.3.4.5", "1.2.3.", "a.b.c.d", ":", ":::", "1::2::3", "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9", "12345::",
            "g::", "[::1", "host", "[]", "1:2:3:4::5:6:7:8", ":1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:",
        ])
    func notAddresses(_ text: String) {
        #expect(
            refusal(of: ["-kernel", "K", "-qmp", "tcp:\(text):1,server,nowait"])
                == "-qmp: '\(text)' is not a numeric address; write one such as 127.0.0.1 or [::1]")
    }

    @Test("Several monitors, by Unix and TCP sockets, are served")
    func monitors() throws {
        let line = try accepted(
            words(
                "-kernel K -qmp unix:/a,server,nowait -qmp tcp:127.0.0.1:4444,server,nowait -mon m -chardev "
                    + "socket,id=m,path=/b,server,nowait"
            ))
        #expect(
            line.monitors == [.unixSocket(path: "/a"), .tcpSocket(host: "127.0.0.1", port: 4444), .unixSocket(path: "/b")])
    }

    @Test(
        "What is carried out otherwise than it was written is told",
        arguments: [
            ("-drive file=a,id=a", "-drive a: no device uses it; add -device virtio-blk-device,drive=a"),
            ("-drive file=a", "-drive drive0: no device uses it; add -device virtio-blk-device,drive=drive0"),
            (
                "-drive file=a,id=a,l2-cache-size=1M -device virtio-blk-device,drive=a",
                "-drive a: l2-cache-size has no effect on a raw image"
            ),
            ("-smp 1,maxcpus=2", "-smp: maxcpus=2 has no effect; virtual CPUs cannot be added to a microvm while it runs"),
            ("-m 512,maxmem=1G", "-m: maxmem has no effect; RAM cannot be added while the guest runs"),
            (
                "-qmp unix:/a,server,nowait,iothread=i -object iothread,id=i",
                "-qmp: iothread has no effect; the main thread serves clients"
            ),
            ("-D -daemonize", "-D: a daemon's standard error is /dev/null; give -D a file to keep the log"),
            (
                "-serial pty -append console=\(HostArchitecture.foreignSerialConsole),115200",
                "-append: console=\(HostArchitecture.foreignSerialConsole) names no serial port of \(HostArchitecture.name); "
                    + "its first is \(HostArchitecture.serialConsole)"
            ),
        ])
    func warnings(_ line: String, _ warning: String) throws {
        #expect(try accepted(words("-kernel K " + line)).warnings == [warning])
    }

    @Test("-D has a file, or none")
    func log() throws {
        #expect(try accepted(words("-kernel K")).log == .warnings)
        #expect(try accepted(words("-kernel K -D")).log == .standardError)
        #expect(try accepted(words("-D /l -kernel K")).log == .file("/l"))
    }
}
