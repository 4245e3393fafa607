import Foundation
import StratoDisk
import StratoHost
import StratoMemory
import StratoPCI
import Testing

@testable import StratoVirtio

/// A real block device on PCI, served by a loop and an engine with threads of their own.
private final class Bench {
    let guest: Guest
    let file: ScratchFile
    let thread: EventLoopThread
    let device: VirtioBlock
    let pci: PCIBench
    var queue: DriverQueue

    init() throws {
        guest = try Guest()
        file = try ScratchFile(pattern(1 << 20))
        let logger = Logger.silent
        let image = try DiskImage(DiskImageOptions(path: file.path, engine: .threads), logger: logger)
        thread = try EventLoopThread(name: "pci-block")
        device = try VirtioBlock(
            VirtioBlock.Options(name: "disk", queueSize: 64), image: image, loop: thread.loop, logger: logger)
        // Doorbells that nobody rings: notifications come as register accesses.
        pci = try PCIBench(device, guest: guest, isRefusingDoorbells: true)
        queue = DriverQueue(guest.memory, size: 64)
    }

    deinit {
        pci.host.shutDown()
        thread.stop()
    }

    func start(command: UInt64 = 6) throws {
        pci.enable(command: command)
        pci.negotiate(1 << 32)
        queue = DriverQueue(guest.memory, size: 64)
        try guest.memory.write([UInt8](repeating: 0, count: Int(queue.end - 0x1000)), at: GuestAddress(0x1000))
        pci.setUp(queue, vector: 1)
        pci.status = 15
        #expect(pci.status == 15)
    }

    /// Offers reads of 4 KiB each, to places of their own from 0x80000 on.
    func offerReads(_ count: Int) throws {
        for index in 0..<count {
            let header = 0x40000 + UInt64(index) * 16
            try guest.memory.store(UInt64(0), at: GuestAddress(header))
            try guest.memory.store(UInt64(index * 8), at: GuestAddress(header + 8))
            let data = 0x80000 + UInt64(index) * 0x1000
            try queue.offer([.readable(header, 16), .writable(data, 4096), .writable(0x60000 + UInt64(index), 1)])
        }
        pci.notify(0)
    }

    func wait(until isDone: () throws -> Bool) throws {
        for _ in 0..<6000 {
            if try isDone() { return }
            usleep(10_000)
        }
        Issue.record("the device never answered")
    }
}

@Suite("virtio-pci: a disk")
struct PCIBlockTests {
    @Test("requests are served, with a message for them")
    func reads() throws {
        let bench = try Bench()
        try bench.start()
        try bench.pci.setMSIX(isEnabled: true)
        bench.pci.setVector(1, data: 5)
        try bench.offerReads(16)
        var done = 0
        try bench.wait {
            done += try bench.queue.takeUsed().count
            return done == 16
        }
        for index in 0..<16 {
            let data = try bench.guest.memory.read(4096, at: GuestAddress(0x80000 + UInt64(index) * 0x1000))
            let isSame = data == Array(pattern(1 << 20)[(index * 4096)..<(index * 4096 + 4096)])
            #expect(isSame)
        }
        try bench.wait { bench.pci.messages.count > 0 }
        #expect(bench.pci.messages.take().allSatisfy { $0 == 5 })
    }

    @Test("a device that may not be bus master leaves requests where they are until it may")
    func busMaster() throws {
        let bench = try Bench()
        try bench.start(command: 2)
        try bench.offerReads(4)
        // The loop has had its turn with the notification when it has run this twice.
        for _ in 0..<2 { bench.thread.loop.runBlocking {} }
        #expect(try bench.queue.takeUsed().isEmpty)
        bench.pci.configurationSet(4, 6, 2)
        bench.pci.notify(0)
        var done = 0
        try bench.wait {
            done += try bench.queue.takeUsed().count
            return done == 4
        }
    }

    @Test("a reset of any kind with requests in flight returns when nothing is written any more", arguments: 0..<4)
    func resetInFlight(_ kind: Int) throws {
        let bench = try Bench()
        let marker = [UInt8](repeating: 0, count: 16 * 4096)
        for round in 0..<40 {
            try bench.start()
            try bench.offerReads(16)
            if round % 3 == 1 { usleep(UInt32(round * 20)) }
            switch kind {
            case 0: bench.pci.status = 0
            case 1: bench.pci.host.reset()
            case 2: bench.pci.configurationSet(4, 2, 2)
            default:
                // By the access window, which holds the function's own lock.
                let access = try #require(bench.pci.capabilities(0x09).last)
                bench.pci.configurationSet(access + 4, 2, 1)
                bench.pci.configurationSet(access + 8, Common.status, 4)
                bench.pci.configurationSet(access + 12, 1, 4)
                bench.pci.configurationSet(access + 16, 0, 1)
            }
            // The guest takes its memory for something else now.
            try bench.guest.memory.write(marker, at: GuestAddress(0x80000))
            try bench.guest.memory.write([UInt8](repeating: 0xEE, count: 16), at: GuestAddress(0x60000))
            let used = try bench.queue.usedIndex
            _ = bench.pci.messages.take()
            usleep(500)
            let isUntouched = try bench.guest.memory.read(marker.count, at: GuestAddress(0x80000)) == marker
            #expect(isUntouched)
            #expect(try bench.guest.memory.read(16, at: GuestAddress(0x60000)).allSatisfy { $0 == 0xEE })
            #expect(try bench.queue.usedIndex == used)
            #expect(bench.pci.messages.count == 0)
        }
        // It is as good as new.
        bench.pci.host.reset()
        try bench.start()
        try bench.offerReads(1)
        try bench.wait { try bench.queue.takeUsed().count == 1 }
    }
}
