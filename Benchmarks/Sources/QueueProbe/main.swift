import Glibc
import StratoMemory
import StratoVirtio

/// Usage: QueueProbe chain BATCHES | QueueProbe block|scattered BATCHES IMAGE
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
