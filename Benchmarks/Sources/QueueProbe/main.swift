import Glibc
import StratoDisk
import StratoHost
import StratoMemory
import StratoVirtio

/// Usage: QueueProbe chain BATCHES | QueueProbe block|scattered BATCHES IMAGE | QueueProbe off|threads|native|io_uring BATCHES IMAGE
/// [direct]: prints microseconds and processor time for each request
func run(_ arguments: [String]) throws {
    guard arguments.count >= 3, let batches = Int(arguments[2]), batches >= 0 else {
        throw ProbeError("usage: QueueProbe chain BATCHES | QueueProbe block|scattered BATCHES IMAGE")
    }
    switch arguments[1] {
    case "chain":
        var guest = try GuestQueue(requests: false)
        let probe = ChainProbe(guest)
        var interrupts = 0
        for _ in 0..<batches {
            guest.publish()
            if try probe.serve() { interrupts += 1 }
        }
        guard interrupts == batches else { throw ProbeError("\(interrupts) interrupts for \(batches) batches") }
        print(probe.checksum)
    case "block", "scattered":
        guard arguments.count == 4 else { throw ProbeError("no image named") }
        // Every second page of the disk: neighbours could be read together.
        try BlockProbe.run(batches: batches, image: arguments[3], stride: arguments[1] == "block" ? 8 : 16)
    case "off", "threads", "native", "io_uring":
        guard arguments.count >= 4 else { throw ProbeError("no image named") }
        let engines: [String: DiskImageOptions.Engine] = ["threads": .threads, "native": .native, "io_uring": .ioUring]
        let (wall, processor) = (MonotonicClock.now.microseconds, MonotonicClock.processorTime.microseconds)
        try BlockProbe.run(
            batches: batches, image: arguments[3], stride: 16, engine: engines[arguments[1]] ?? .synchronous,
            isDirect: arguments.count > 4)
        let requests = Double(batches * Int(GuestQueue.batch))
        let times = [
            MonotonicClock.now.microseconds - wall, MonotonicClock.processorTime.microseconds - processor,
        ].map { Double($0) / requests }
        print("\(times[0]) \(times[1])")
    default:
        throw ProbeError("unknown probe \(arguments[1])")
    }
}

do {
    try run(CommandLine.arguments)
} catch {
    print("QueueProbe: \(error)")
    exit(1)
}
