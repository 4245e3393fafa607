/// What the device tree of a machine on aarch64 says: Linux is started by it, and firmware finds the machine by it.
package struct ARMMachineTree: Sendable, Equatable {
    /// A virtual CPU.
    package struct Processor: Sendable, Equatable {
        /// Aff2...Aff0 of its MPIDR.
        package var affinity: UInt64

        /// Where it is: socket, cluster, core and thread, each counted within the one before.
        package var position: Position

        package init(affinity: UInt64, position: Position) {
            self.affinity = affinity
            self.position = position
        }
    }

    /// A virtual CPU's place.
    package struct Position: Sendable, Equatable {
        package var socket: Int
        package var cluster: Int
        package var core: Int
        package var thread: Int

        package init(socket: Int, cluster: Int = 0, core: Int = 0, thread: Int = 0) {
            self.socket = socket
            self.cluster = cluster
            self.core = core
            self.thread = thread
        }
    }

    /// A GICv3 with its translation service.
    package struct InterruptController: Sendable, Equatable {
        package var distributor: PhysicalRange
        package var redistributors: [PhysicalRange]
        package var translationService: PhysicalRange

        package init(distributor: PhysicalRange, redistributors: [PhysicalRange], translationService: PhysicalRange) {
            self.distributor = distributor
            self.redistributors = redistributors
            self.translationService = translationService
        }
    }

    /// A register block with a shared interrupt.
    package struct Device: Sendable, Equatable {
        package var registers: PhysicalRange

        /// Counted from the first shared interrupt.
        package var interrupt: UInt32

        package init(registers: PhysicalRange, interrupt: UInt32) {
            self.registers = registers
            self.interrupt = interrupt
        }
    }

    /// A generic host bridge of PCI Express (Linux, Documentation/devicetree/bindings/pci/host-generic-pci.yaml).
    package struct PCIHost: Sendable, Equatable {
        package var configurationSpace: PhysicalRange

        /// Where ports from 0 on are in memory.
        package var ports: PhysicalRange

        /// Where functions can be; addresses on the bus are the processors'.
        package var windows: [PhysicalRange]

        /// The first of the four shared interrupts that the pins of all functions have in turn.
        package var firstInterrupt: UInt32

        package init(
            configurationSpace: PhysicalRange, ports: PhysicalRange, windows: [PhysicalRange], firstInterrupt: UInt32
        ) {
            self.configurationSpace = configurationSpace
            self.ports = ports
            self.windows = windows
            self.firstInterrupt = firstInterrupt
        }

        /// The number of the last bus that configuration space has room for.
        var lastBus: UInt8 {
            UInt8(clamping: max(1, configurationSpace.size / MCFG.Window.bytesPerBus) - 1)
        }
    }

    package var processors: [Processor]
    package var memory: [PhysicalRange]
    package var interruptController: InterruptController

    /// A PL011 with a level-triggered interrupt, which the kernel's first messages go to.
    package var serialPort: Device?

    /// A PL031 with a level-triggered interrupt.
    package var clock: Device?

    /// virtio-mmio register blocks with edge-triggered interrupts, in the order in which they are to be found.
    package var virtioDevices: [Device] = []

    /// Banks of one flash device, one behind the other.
    package var flash: [PhysicalRange] = []

    /// fw_cfg.
    package var firmwareConfiguration: PhysicalRange?
    package var pci: PCIHost?

    /// The processors have performance monitors.
    package var hasPerformanceMonitors = false

    /// The kernel's command line, without a zero byte.
    package var commandLine = ""

    /// Where the initial RAM disk is.
    package var ramdisk: PhysicalRange?

    /// Randomness for the kernel's generator; it wipes it out in the tree. There is none for its place in memory: kernels that were
    /// moved isolate their page tables, which every system call pays for.
    package var randomSeed: [UInt8] = []

    package init(processors: [Processor], memory: [PhysicalRange], interruptController: InterruptController) {
        self.processors = processors
        self.memory = memory
        self.interruptController = interruptController
    }

    /// The private interrupts of every machine, counted from the first private one (Arm Base System Architecture, DEN0094, 4.1).
    package enum PrivateInterrupt {
        package static let secureTimer: UInt32 = 13
        package static let timer: UInt32 = 14
        package static let virtualTimer: UInt32 = 11
        package static let hypervisorTimer: UInt32 = 10
        package static let controllerMaintenance: UInt32 = 9
        package static let performanceMonitors: UInt32 = 7
    }

    /// Cells of an interrupt specifier (Linux, Documentation/devicetree/bindings/interrupt-controller/arm,gic-v3.yaml).
    private enum Interrupt {
        static let shared: UInt32 = 0
        static let isPrivate: UInt32 = 1
        static let edgeRising: UInt32 = 1
        static let levelHigh: UInt32 = 4
    }

    private enum Handle {
        static let clock: DeviceTree.Phandle = 1
        static let interruptController: DeviceTree.Phandle = 2
        static let translationService: DeviceTree.Phandle = 3
        static let firstProcessor: DeviceTree.Phandle = 10
    }

    /// Of the bus that the PrimeCell devices are on, in Hz: what their dividers are computed from.
    private static let busFrequency: UInt32 = 24_000_000

    /// The tree.
    ///
    /// - Throws: `FirmwareTableError` for a processor whose affinity does not fit into one cell.
    package func tree() throws(FirmwareTableError) -> DeviceTree {
        guard processors.allSatisfy({ $0.affinity <= 0xFF_FFFF }) else {
            throw FirmwareTableError("device tree: a processor's affinity has more than 24 bits")
        }
        return DeviceTree(bootProcessor: UInt32(clamping: processors.first?.affinity ?? 0)) {
            DeviceTree.Property("#address-cells", 2)
            DeviceTree.Property("#size-cells", 2)
            DeviceTree.Property("compatible", "linux,dummy-virt")
            DeviceTree.Property("model", "StratoVirt")
            DeviceTree.Property("interrupt-parent", .phandle(Handle.interruptController))
            chosen
            processorNodes
            for range in memory {
                DeviceTree.Node(name("memory", range.base)) {
                    DeviceTree.Property("device_type", "memory")
                    DeviceTree.Property("reg", .address(range.base), .size(range.size))
                }
            }
            DeviceTree.Node("psci") {
                DeviceTree.Property("compatible", "arm,psci-1.0", "arm,psci-0.2")
                DeviceTree.Property("method", "hvc")
            }
            timer
            if hasPerformanceMonitors {
                DeviceTree.Node("pmu") {
                    DeviceTree.Property("compatible", "arm,armv8-pmuv3")
                    DeviceTree.Property(
                        "interrupts", .cell(Interrupt.isPrivate), .cell(PrivateInterrupt.performanceMonitors),
                        .cell(Interrupt.levelHigh))
                }
            }
            interruptControllerNode
            DeviceTree.Node("apb-pclk", phandle: Handle.clock) {
                DeviceTree.Property("compatible", "fixed-clock")
                DeviceTree.Property("#clock-cells", 0)
                DeviceTree.Property("clock-frequency", .cell(ARMMachineTree.busFrequency))
                DeviceTree.Property("clock-output-names", "clk24mhz")
            }
            if let serialPort {
                DeviceTree.Node(name("pl011", serialPort.registers.base)) {
                    DeviceTree.Property("compatible", "arm,pl011", "arm,primecell")
                    description(of: serialPort, trigger: Interrupt.levelHigh)
                    DeviceTree.Property("clocks", .phandle(Handle.clock), .phandle(Handle.clock))
                    DeviceTree.Property("clock-names", "uartclk", "apb_pclk")
                }
            }
            if let clock {
                DeviceTree.Node(name("pl031", clock.registers.base)) {
                    DeviceTree.Property("compatible", "arm,pl031", "arm,primecell")
                    description(of: clock, trigger: Interrupt.levelHigh)
                    DeviceTree.Property("clocks", .phandle(Handle.clock))
                    DeviceTree.Property("clock-names", "apb_pclk")
                }
            }
            if let first = flash.first {
                DeviceTree.Node(name("flash", first.base)) {
                    DeviceTree.Property("compatible", "cfi-flash")
                    DeviceTree.Property("reg", flash.flatMap { [.address($0.base), .size($0.size)] })
                    DeviceTree.Property("bank-width", 4)
                }
            }
            if let firmwareConfiguration {
                DeviceTree.Node(name("fw-cfg", firmwareConfiguration.base)) {
                    DeviceTree.Property("compatible", "qemu,fw-cfg-mmio")
                    DeviceTree.Property("reg", .address(firmwareConfiguration.base), .size(firmwareConfiguration.size))
                    DeviceTree.Property("dma-coherent")
                }
            }
            if let pci { node(of: pci) }
            for device in virtioDevices {
                DeviceTree.Node(name("virtio_mmio", device.registers.base)) {
                    DeviceTree.Property("compatible", "virtio,mmio")
                    description(of: device, trigger: Interrupt.edgeRising)
                    // Rings and buffers are ordinary, coherent memory.
                    DeviceTree.Property("dma-coherent")
                }
            }
        }
    }

    private func name(_ kind: String, _ address: UInt64) -> String {
        kind + "@" + String(address, radix: 16)
    }

    private func description(of device: Device, trigger: UInt32) -> [DeviceTree.Item] {
        [
            .property(DeviceTree.Property("reg", .address(device.registers.base), .size(device.registers.size))),
            .property(
                DeviceTree.Property("interrupts", .cell(Interrupt.shared), .cell(device.interrupt), .cell(trigger))),
        ]
    }

    private var chosen: DeviceTree.Node {
        DeviceTree.Node("chosen") {
            DeviceTree.Property("bootargs", .string(commandLine))
            if let serialPort {
                DeviceTree.Property("stdout-path", .string("/" + name("pl011", serialPort.registers.base)))
            }
            if let ramdisk {
                DeviceTree.Property("linux,initrd-start", .doubleCell(ramdisk.base))
                DeviceTree.Property("linux,initrd-end", .doubleCell(ramdisk.base &+ ramdisk.size))
            }
            if !randomSeed.isEmpty {
                DeviceTree.Property("rng-seed", .bytes(randomSeed))
            }
        }
    }

    // MARK: Processors

    private var processorNodes: DeviceTree.Node {
        DeviceTree.Node("cpus") {
            DeviceTree.Property("#address-cells", 1)
            DeviceTree.Property("#size-cells", 0)
            topology
            for (index, processor) in processors.enumerated() {
                DeviceTree.Node(name("cpu", processor.affinity), phandle: ARMMachineTree.handle(ofProcessor: index)) {
                    DeviceTree.Property("device_type", "cpu")
                    DeviceTree.Property("compatible", "arm,armv8")
                    DeviceTree.Property("reg", .cell(UInt32(truncatingIfNeeded: processor.affinity)))
                    if processors.count > 1 {
                        DeviceTree.Property("enable-method", "psci")
                    }
                }
            }
        }
    }

    private static func handle(ofProcessor index: Int) -> DeviceTree.Phandle {
        Handle.firstProcessor + DeviceTree.Phandle(clamping: index)
    }

    /// Linux, Documentation/devicetree/bindings/cpu/cpu-topology.txt: a core with one thread names its processor itself.
    private var topology: DeviceTree.Node {
        let places = processors.enumerated().map { (handle: ARMMachineTree.handle(ofProcessor: $0), place: $1.position) }
        func groups<Key: Equatable>(
            _ members: [(handle: DeviceTree.Phandle, place: Position)], _ key: (Position) -> Key
        ) -> [[(handle: DeviceTree.Phandle, place: Position)]] {
            var groups: [[(handle: DeviceTree.Phandle, place: Position)]] = []
            for member in members {
                if let position = groups.firstIndex(where: { $0.first.map { key($0.place) } == key(member.place) }) {
                    groups[position].append(member)
                } else {
                    groups.append([member])
                }
            }
            return groups
        }
        return DeviceTree.Node("cpu-map") {
            for (number, socket) in groups(places, { $0.socket }).enumerated() {
                DeviceTree.Node("socket\(number)") {
                    for (number, cluster) in groups(socket, { $0.cluster }).enumerated() {
                        DeviceTree.Node("cluster\(number)") {
                            for (number, core) in groups(cluster, { $0.core }).enumerated() {
                                coreNode(number, core.map(\.handle))
                            }
                        }
                    }
                }
            }
        }
    }

    private func coreNode(_ number: Int, _ threads: [DeviceTree.Phandle]) -> DeviceTree.Node {
        DeviceTree.Node("core\(number)") {
            if let only = threads.first, threads.count == 1 {
                DeviceTree.Property("cpu", .phandle(only))
            } else {
                for (number, thread) in threads.enumerated() {
                    DeviceTree.Node("thread\(number)") {
                        DeviceTree.Property("cpu", .phandle(thread))
                    }
                }
            }
        }
    }

    private var timer: DeviceTree.Node {
        let interrupts = [
            PrivateInterrupt.secureTimer, PrivateInterrupt.timer, PrivateInterrupt.virtualTimer,
            PrivateInterrupt.hypervisorTimer,
        ]
        return DeviceTree.Node("timer") {
            DeviceTree.Property("compatible", "arm,armv8-timer")
            DeviceTree.Property(
                "interrupts",
                interrupts.flatMap { number -> [DeviceTree.Value] in
                    [.cell(Interrupt.isPrivate), .cell(number), .cell(Interrupt.levelHigh)]
                })
            DeviceTree.Property("always-on")
        }
    }

    private var interruptControllerNode: DeviceTree.Node {
        let controller = interruptController
        let ranges = [controller.distributor] + controller.redistributors
        return DeviceTree.Node(name("intc", controller.distributor.base), phandle: Handle.interruptController) {
            DeviceTree.Property("compatible", "arm,gic-v3")
            DeviceTree.Property("interrupt-controller")
            DeviceTree.Property("#interrupt-cells", 3)
            DeviceTree.Property("#address-cells", 2)
            DeviceTree.Property("#size-cells", 2)
            DeviceTree.Property("ranges")
            DeviceTree.Property("reg", ranges.flatMap { [.address($0.base), .size($0.size)] })
            if controller.redistributors.count > 1 {
                DeviceTree.Property("#redistributor-regions", .cell(UInt32(clamping: controller.redistributors.count)))
            }
            DeviceTree.Property(
                "interrupts", .cell(Interrupt.isPrivate), .cell(PrivateInterrupt.controllerMaintenance),
                .cell(Interrupt.levelHigh))
            DeviceTree.Node(name("its", controller.translationService.base), phandle: Handle.translationService) {
                DeviceTree.Property("compatible", "arm,gic-v3-its")
                DeviceTree.Property("msi-controller")
                DeviceTree.Property("#msi-cells", 1)
                DeviceTree.Property(
                    "reg", .address(controller.translationService.base), .size(controller.translationService.size))
            }
        }
    }

    // MARK: PCI

    /// Address spaces in the first cell of a PCI address (IEEE 1275's binding to PCI, 2.2.1.1).
    private enum PCISpace {
        static let ports: UInt32 = 0x0100_0000
        static let memory32: UInt32 = 0x0200_0000
        static let memory64: UInt32 = 0x0300_0000

        /// A device number's bits in it, as far as interrupts repeat, and a pin's in the cell behind.
        static let interruptDeviceMask: UInt32 = 0x1800
        static let deviceShift: UInt32 = 11
        static let pinMask: UInt32 = 7
    }

    private func node(of host: PCIHost) -> DeviceTree.Node {
        DeviceTree.Node(name("pcie", host.configurationSpace.base)) {
            DeviceTree.Property("compatible", "pci-host-ecam-generic")
            DeviceTree.Property("device_type", "pci")
            DeviceTree.Property("#address-cells", 3)
            DeviceTree.Property("#size-cells", 2)
            DeviceTree.Property("#interrupt-cells", 1)
            DeviceTree.Property("reg", .address(host.configurationSpace.base), .size(host.configurationSpace.size))
            DeviceTree.Property("bus-range", 0, .cell(UInt32(host.lastBus)))
            DeviceTree.Property("linux,pci-domain", 0)
            DeviceTree.Property("dma-coherent")
            DeviceTree.Property("ranges", ranges(of: host))
            // A function's requester id is its device id (Linux, Documentation/devicetree/bindings/pci/pci-msi.txt).
            DeviceTree.Property("msi-map", 0, .phandle(Handle.translationService), 0, 0x1_0000)
            DeviceTree.Property(
                "interrupt-map-mask", .cell(PCISpace.interruptDeviceMask), 0, 0, .cell(PCISpace.pinMask))
            DeviceTree.Property("interrupt-map", interruptMap(of: host))
        }
    }

    private func ranges(of host: PCIHost) -> [DeviceTree.Value] {
        var ranges: [DeviceTree.Value] = [
            .cell(PCISpace.ports), .address(0), .address(host.ports.base), .size(host.ports.size),
        ]
        for window in host.windows {
            let isHigh = window.base >> 32 != 0
            ranges += [
                .cell(isHigh ? PCISpace.memory64 : PCISpace.memory32), .address(window.base), .address(window.base),
                .size(window.size),
            ]
        }
        return ranges
    }

    /// Pin A of device 0 has the first interrupt, and each device and each pin further the next (PCI Express Base 4.0, 2.2.8.1).
    private func interruptMap(of host: PCIHost) -> [DeviceTree.Value] {
        var map: [DeviceTree.Value] = []
        for device in UInt32(0)..<4 {
            for pin in UInt32(1)...4 {
                map += [.cell(device << PCISpace.deviceShift), 0, 0, .cell(pin)]
                map += [.phandle(Handle.interruptController), .address(0)]
                map += [
                    .cell(Interrupt.shared), .cell(host.firstInterrupt + (device + pin - 1) % 4), .cell(Interrupt.levelHigh),
                ]
            }
        }
        return map
    }
}
