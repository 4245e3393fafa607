#if arch(x86_64)
import Foundation
import StratoHost
import StratoKVM
import StratoMachine
import StratoMemory
import Synchronization
import Testing

/// Collects what a guest writes to a port.
private final class PortRecorder: BusDevice {
    let written = Mutex<[UInt64]>([])
    let answer: UInt64

    init(answer: UInt64 = 0) { self.answer = answer }

    func read(at offset: UInt64, width: Int) -> UInt64 { answer }
    func write(_ value: UInt64, at offset: UInt64, width: Int) { written.withLock { $0.append(value) } }
}

/// A machine of a few bytes of real-mode code at 0x1000, a recorder at port 0x10 and one at 0xD0000000.
private final class TinyMachine: Sendable {
    let machine: KVMVirtualMachine
    let group: ProcessorGroup
    let processors: [KVMProcessor]
    let ports = PortRecorder(answer: 0x5A)
    let portBus = Bus(name: "port")
    let requests = Monitor<[GuestRequest]>([])

    init(_ code: [UInt8], processors count: Int = 1) throws {
        let memory = try GuestMemory([try #require(GuestRange(base: GuestAddress(0), size: 1 << 20))])
        try memory.write(code, at: GuestAddress(0x1000))
        let system = try KVMSystem()
        let machine = try KVMVirtualMachine(system: system, memory: memory)
        let identification = try system.supportedIdentification()
        let topology = ProcessorIdentification.Topology(sockets: count, dies: 1, cores: 1, threads: 1)
        let processors = try (0..<count).map { index in
            let processor = try machine.makeProcessor(index: index)
            try processor.setIdentification(identification.entries(for: index, of: topology, hasTSCDeadline: false))
            try processor.setStart(.realMode(base: 0x1000))
            return processor
        }
        self.machine = machine
        self.processors = processors
        try portBus.insert(ports, at: try #require(GuestRange(base: GuestAddress(0x10), size: 4)))
        let requests = requests
        group = ProcessorGroup(processors: processors, ports: portBus, mmio: Bus(name: "MMIO"), logger: .silent) { request in
            requests.update { $0.append(request) }
        }
    }

    func waitForRequest() -> GuestRequest? {
        requests.wait(milliseconds: 20_000) { $0.first }
    }
}

@Suite("Virtual CPUs", .enabled(if: hasKVM, "there is no usable /dev/kvm"), .serialized)
struct ProcessorGroupTests {
    @Test("A guest's port accesses reach the device, at every width, and a port without a device reads as ones")
    func ports() throws {
        let guest = try TinyMachine([
            0xB0, 0x41, 0xE6, 0x10,  // mov al, 0x41; out 0x10, al
            0xE4, 0x10, 0xE6, 0x11,  // in al, 0x10; out 0x11, al
            0xB8, 0x34, 0x12, 0xE7, 0x10,  // mov ax, 0x1234; out 0x10, ax
            0xE4, 0x80, 0xE6, 0x10,  // in al, 0x80 (nothing there); out 0x10, al
            0xEB, 0xFE,  // jmp to itself
        ])
        try guest.group.start()
        guest.group.release()
        var patience = 10_000
        while guest.ports.written.withLock({ $0.count }) < 4, patience > 0 {
            usleep(1000)
            patience -= 1
        }
        guest.group.end()
        #expect(guest.ports.written.withLock { $0 } == [0x41, 0x5A, 0x1234, 0xFF])
    }

    @Test(
        "A triple fault parks the virtual CPU and asks for a reset",
        .enabled(if: runsAnyGuest, "this KVM emulates exceptions in software"))
    func tripleFault() throws {
        let guest = try TinyMachine([0x0F, 0x01, 0x1E, 0x00, 0x20, 0xCC])  // lidt [0x2000], a table without entries; int3
        try guest.group.start()
        guest.group.release()
        #expect(guest.waitForRequest() == .reset)
        #expect(guest.group.hold())
        guest.group.end()
    }

    @Test("Virtual CPUs that loop for ever are held, let go and ended, many times over")
    func holdAndRelease() throws {
        let guest = try TinyMachine([0xFE, 0xC0, 0xE6, 0x10, 0xEB, 0xFA], processors: 2)  // inc al; out 0x10, al; jmp back
        try guest.group.start()
        for _ in 0..<20 {
            guest.group.release()
            let before = guest.ports.written.withLock { $0.count }
            while guest.ports.written.withLock({ $0.count }) == before { usleep(100) }
            #expect(guest.group.hold())
            let held = guest.ports.written.withLock { $0.count }
            usleep(2000)
            #expect(guest.ports.written.withLock { $0.count } == held, "a held guest runs")
        }
        guest.group.end()
    }

    @Test("A virtual CPU that waits in the kernel for an interrupt that never comes can be held and ended")
    func halted() throws {
        let memory = try GuestMemory([try #require(GuestRange(base: GuestAddress(0), size: 1 << 20))])
        try memory.write([0xFA, 0xF4, 0xEB, 0xFC], at: GuestAddress(0x1000))  // cli; hlt; jmp back
        let system = try KVMSystem()
        let machine = try KVMVirtualMachine(system: system, memory: memory)
        try machine.makeInterruptController()
        let processor = try machine.makeProcessor(index: 0)
        try processor.setStart(.realMode(base: 0x1000))
        let group = ProcessorGroup(
            processors: [processor], ports: Bus(name: "port"), mmio: Bus(name: "MMIO"), logger: .silent
        ) { _ in }
        try group.start()
        group.release()
        usleep(20_000)
        #expect(group.hold())
        group.release()
        #expect(group.hold())
        group.end()
    }

    /// In a process of its own, whose descriptors and threads nobody else changes.
    @Test("Machines made and ended in one process give back every descriptor and thread")
    func nothingLeaks() async {
        await #expect(processExitsWith: .success) {
            func cycle() throws {
                let guest = try TinyMachine([0xE6, 0x10, 0xEB, 0xFC], processors: 2)
                try guest.group.start()
                guest.group.release()
                #expect(guest.group.hold())
                guest.group.end()
            }
            try cycle()
            let descriptors = try OpenResources.descriptors()
            let threads = try OpenResources.threads()
            for _ in 0..<30 { try cycle() }
            #expect(try OpenResources.wait(forThreads: threads))
            #expect(try OpenResources.descriptors() <= descriptors)
        }
    }

    /// A device whose first access waits until it is let go.
    private final class SlowDevice: BusDevice {
        let isLetGo = Monitor(false)
        let isReached = Monitor(false)

        func read(at offset: UInt64, width: Int) -> UInt64 {
            isReached.update { $0 = true }
            isLetGo.wait { $0 ? () : nil }
            return 0
        }

        func write(_ value: UInt64, at offset: UInt64, width: Int) {}
    }

    @Test("A virtual CPU that is busy in a device is not held in time; it is once the device lets it go")
    func busyInDevice() throws {
        let device = SlowDevice()
        let guest = try TinyMachine([0xE4, 0x20, 0xE6, 0x10, 0xEB, 0xFC])  // in al, 0x20; out 0x10, al; jmp back to that
        try guest.portBus.insert(device, at: try #require(GuestRange(base: GuestAddress(0x20), size: 1)))
        try guest.group.start()
        guest.group.release()
        #expect(device.isReached.wait(milliseconds: 20_000) { $0 ? true : nil } == true)
        #expect(!guest.group.hold(milliseconds: 50))
        device.isLetGo.update { $0 = true }
        #expect(guest.group.hold())
        #expect(guest.ports.written.withLock { $0.isEmpty }, "it was to be held before its next access")
        guest.group.release()
        #expect(guest.group.hold())
        guest.group.end()
    }

    @Test("A halt that no interrupt controller could end is a failure, with the virtual CPU's number")
    func haltWithoutController() throws {
        let guest = try TinyMachine([0xF4])
        try guest.group.start()
        guest.group.release()
        #expect(guest.waitForRequest() == .failed("virtual CPU 0: halted outside the interrupt controller"))
        #expect(guest.group.hold())
        guest.group.end()
    }

    @Test("A virtual CPU that KVM refuses to run is a failure with the kernel's reason, and is parked like any other")
    func refusedByKVM() throws {
        let guest = try TinyMachine([0xEB, 0xFE], processors: 2)
        try guest.group.start()
        // Parked threads have done what needs the real descriptor.
        #expect(guest.group.hold())
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer { close(null) }
        for processor in guest.processors { #expect(dup2(null, processor.number) == processor.number) }
        guest.group.release()
        // The first that fails parks the other, which may not have run by then.
        let wanted = (0..<2).map { index in
            GuestRequest.failed("virtual CPU \(index): KVM: run virtual CPU \(index): Inappropriate ioctl for device")
        }
        #expect(wanted.contains(try #require(guest.waitForRequest())))
        #expect(guest.group.hold())
        guest.group.end()
    }

    @Test("Before their start and after their end there are no threads to be held, and none is named")
    func withoutThreads() throws {
        let guest = try TinyMachine([0xEB, 0xFE], processors: 3)
        #expect(guest.group.threadIDs == [0, 0, 0])
        #expect(guest.group.hold())
        try guest.group.start()
        #expect(guest.group.hold())
        #expect(Set(guest.group.threadIDs).count == 3)
        #expect(!guest.group.threadIDs.contains(0))
        guest.group.end()
        guest.group.release()
        guest.group.end()
    }

    @Test("A snapshot of a virtual CPU brings it back to its first instruction")
    func snapshot() throws {
        let memory = try GuestMemory([try #require(GuestRange(base: GuestAddress(0), size: 1 << 20))])
        try memory.write([0xB0, 0x07, 0xE6, 0x10, 0xFA, 0xF4], at: GuestAddress(0x1000))
        let machine = try KVMVirtualMachine(system: try KVMSystem(), memory: memory)
        try machine.makeInterruptController()
        let processor = try machine.makeProcessor(index: 0)
        try processor.setStart(.realMode(base: 0x1000))
        let state = try processor.snapshot()
        let chips = try machine.snapshotInterruptController()
        for _ in 0..<3 {
            #expect(try processor.run() == .portWrite(port: 0x10, width: 1, count: 1))
            #expect(processor.portData(0) == 7)
            try processor.restore(state)
            try machine.restoreInterruptController(chips)
        }
    }
}
#endif
